# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training on a source's labels beside the target's: a fixed share of the sweeps, however few the target's labels are.

The loss of a step is a mean over its labelled points: with one sweep a step and without `train.context_m` the share is also
that of the loss. Where a step is filled from several sweeps, a source's, labelled all over, outweighs the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lidal3d.rounds.config import WorldSettings
from lidal3d.rounds.world import World
from lidal3d.scene.scene import Frame

if TYPE_CHECKING:
    from lidal3d.learn.train import LabelSource


def with_source(labels: LabelSource, world: World) -> LabelSource:
    """The same labels, and for a frame of the world's source all of its own."""
    from lidal3d.learn.train import own_labels

    source = {scene.id for scene in world.source}
    return (lambda frame: own_labels(frame) if frame.scene.id in source else labels(frame)) if source else labels


def mixed_frames(frames: Sequence[Frame], world: World, settings: WorldSettings) -> list[Frame]:
    """The frames and those of the source, repeated so that the source's are about `source.share` of all.

    The source's alone where there are no others; the frames alone where there is no source.
    """
    others = world.source_frames()
    if settings.source is None or not frames:
        return [*frames, *others]
    ratio = settings.source.share / (1 - settings.source.share) * len(frames) / len(others)
    times, times_others = (1, round(ratio)) if ratio >= 1 else (round(1 / ratio), 1)
    return [*list(frames) * times, *others * times_others]
