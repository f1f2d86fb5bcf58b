# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and `lidal3d config`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from lidal3d.config import Config

# typer reads these at run time, where `X | None` needs Python 3.10's typing: Optional is what it documents.
Drive = Annotated[Path, typer.Argument(help="A drive log: SemanticKITTI, nuScenes, Argoverse 2, PandaSet or a folder.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")]
Preset = Annotated[str, typer.Option(help="default (repaired) or paper (what LiDAL's released code does).")]
ConfigFile = Annotated[Optional[Path], typer.Option("--config", help="YAML file of settings; see `lidal3d config`.")]
Assignments = Annotated[
    Optional[list[str]], typer.Option("--set", help="One setting, as group.key=value; may be given again.")
]
Layout = Annotated[Optional[str], typer.Option(help="The drive's layout, where it isn't recognised.")]
LabelMap = Annotated[
    Optional[str], typer.Option(help="Card in datasets/ that names the classes, e.g. semantickitti-spvnas.")
]
Scenes = Annotated[Optional[list[str]], typer.Option("--scene", help="Only this scene; may be given again.")]
Workers = Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes.")]
KeepGoing = Annotated[bool, typer.Option("--keep-going", help="Record bad frames in failed.jsonl and go on.")]


def settings(preset: str, file: Path | None, assignments: list[str] | None) -> Config:
    """The settings that a command's options describe."""
    from lidal3d.config import load_config

    return load_config(preset, file, tuple(assignments or ()))


def config(
    preset: Preset = "default",
    file: ConfigFile = None,
    assignments: Assignments = None,
    describe: Annotated[bool, typer.Option("--describe", help="Say what every key means.")] = False,
) -> None:
    """Print all settings as YAML; what it prints can be given back with --config."""
    import yaml

    from lidal3d.cli.progress import say

    chosen = settings(preset, file, assignments)
    if not describe:
        say(yaml.safe_dump(chosen.model_dump(), sort_keys=False).rstrip())
        return
    for group, values in chosen:
        say(f"{group}:  # {(type(values).__doc__ or '').splitlines()[0]}")
        for key, field in type(values).model_fields.items():
            value = yaml.safe_dump(getattr(values, key), default_flow_style=True).splitlines()[0]
            say(f"  {key}: {value}  # {field.description}")
