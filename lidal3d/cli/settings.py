# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and `lidal3d config`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lidal3d.config import Config

Drive = Annotated[
    Path, typer.Argument(help="A drive log: SemanticKITTI, nuScenes, Argoverse 2, PandaSet, mmdet3d or a folder.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")]
Preset = Annotated[str, typer.Option(help="default (repaired) or paper (what LiDAL's released code does).")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML file of settings; see `lidal3d config`.")
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="GROUP.KEY=VALUE", help="One setting; may be given again.")
]
Layout = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="semantickitti, nuscenes, argoverse2, pandaset, mmdet3d or folder, where it isn't recognised.",
    ),
]
LabelMap = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Card in datasets/ that names the classes, e.g. semantickitti-spvnas."),
]
Scenes = Annotated[
    list[str] | None, typer.Option("--scene", metavar="SCENE", help="Only this scene; may be given again.")
]
Workers = Annotated[
    int, typer.Option("--workers", "-j", min=1, help="Processes; the results are the same for any number.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where torch computes: cpu, cuda, cuda:1.")]
KeepGoing = Annotated[bool, typer.Option("--keep-going", help="Record bad frames in failed.jsonl and go on.")]


def refuse_unusable(device: str) -> None:
    """Raise UsageError where torch cannot compute on a device, before anything is written."""
    if device == "cpu":
        return
    import torch

    from lidal3d.errors import UsageError

    try:
        torch.empty(1, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0][:80]
        raise UsageError(f"--device {device}: torch cannot compute there ({reason}); use --device cpu") from None


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
    """Print all settings as YAML. What it prints can be changed and given back with --config."""
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
