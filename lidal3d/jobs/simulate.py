# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Write simulated scenes; a scene that lies there from an interrupted run is kept when it is the same one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lidal3d.errors import UsageError
from lidal3d.sim.config import SimConfig
from lidal3d.sim.write import write_drive


def simulate_drive(
    out: Path, scenes: int, layout: str, tick: Callable[[], None] = lambda: None, **options: Any
) -> list[Path]:
    """Write `scenes` scenes of the same style and sensor, with consecutive seeds.

    Args:
        out: the data set's root folder.
        layout: "semantickitti" or "nuscenes".
        tick: called for each sweep written.
        options: fields of SimConfig.

    Raises:
        UsageError: an option that SimConfig refuses, or an unknown layout.
        DataError: the folder cannot be written.
    """
    config = sim_config(**options)
    return [
        write_drive(
            config.model_copy(update={"seed": config.seed + scene}), out, layout, f"{scene:02d}", lambda _: tick()
        )
        for scene in range(scenes)
    ]


def sim_config(**options: Any) -> SimConfig:
    """SimConfig from command-line options; `labelled` may be the text of a number."""
    if str(options.get("labelled", "all")).isdigit():
        options["labelled"] = int(options["labelled"])
    try:
        return SimConfig(**options)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"--{first['loc'][0]} {first['input']}: {first['msg']}") from None
