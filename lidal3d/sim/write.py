# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Write a simulated drive in a public data set's layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lidal3d.errors import UsageError
from lidal3d.sim.config import SimConfig
from lidal3d.sim.drive import simulate

Progress = Callable[[int], None]


def write_drive(
    config: SimConfig,
    out: Path,
    layout: str = "semantickitti",
    scene_id: str = "00",
    progress: Progress | None = None,
) -> Path:
    """Simulate and write one drive; several scenes can share one root.

    Args:
        config: what to simulate.
        out: the data set's root folder.
        layout: "semantickitti" or "nuscenes".
        scene_id: SemanticKITTI's sequence, or the end of the nuScenes scene's name.
        progress: called with the number of frames done after each.

    Returns:
        The path to open: the sequence folder, or the nuScenes root.

    Raises:
        UsageError: no such layout.
        DataError: the folder cannot be written. Nothing half-written is left under the final name.
    """
    from lidal3d.sim.write_nuscenes import write_nuscenes
    from lidal3d.sim.write_semantickitti import write_semantickitti

    writers = {"semantickitti": write_semantickitti, "nuscenes": write_nuscenes}
    if layout not in writers:
        raise UsageError(f"no layout named '{layout}' (known: {', '.join(writers)})")
    return writers[layout](simulate(config), Path(out), scene_id, progress or (lambda done: None))
