# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Was a queue worth it? `python tools/evaluate_queue.py queue --exclude 00/000000`

Compares a selection with the labels of its drive, where there are any: how often the model is wrong on the points it
asks about and on all points, and how many pseudo-labels are right. Leave out the frames that the model learnt from.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from lidal3d.cli.progress import facts
from lidal3d.jobs.quality import queue_quality
from lidal3d.scene.open import open_drive


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("selection", type=Path, help="a folder of `lidal3d select`")
    parser.add_argument("--exclude", nargs="*", default=[], help="SCENE/FRAME that the model learnt from")
    parser.add_argument("--classes", action="store_true", help="also which classes it asks about")
    arguments = parser.parse_args()
    source = yaml.safe_load((arguments.selection / "source.yaml").read_text())
    scenes = {scene.id: scene for scene in open_drive(Path(source["drive"]))}
    learnt = {(scene, frame) for scene, _, frame in (name.partition("/") for name in arguments.exclude)}
    quality = queue_quality(arguments.selection, scenes, Path(source["predictions"]), learnt)
    print(
        facts(
            [
                ("labelled points", f"{quality.points:,}"),
                ("mIoU", f"{quality.miou:.3f}"),
                ("wrong on all points", f"{quality.error:.3f}"),
                ("wrong on points to label", f"{quality.picked_error:.3f}"),
                ("pseudo-labels with a label", f"{quality.pseudo_points:,}"),
                ("right among them", f"{quality.pseudo_precision:.4f}"),
            ]
        )
    )
    if arguments.classes:
        print("\nclass, share of the points to label, of all")
        for name, (asked, share) in sorted(quality.shares.items(), key=lambda one: (-one[1][0], one[0])):
            if asked or share:
                print(f"{name:<18}{100 * asked:6.1f} %{100 * share:6.1f} %")


if __name__ == "__main__":
    main()
