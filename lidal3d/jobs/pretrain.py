# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`lidal3d pretrain`: an encoder that learns from a drive log without its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.jobs.train import CONFIG_FILE, chosen_frames, chosen_scenes
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Frame, Scene

if TYPE_CHECKING:
    from lidal3d.learn.pretrain.file import Pretrained
    from lidal3d.learn.train import Progress


@dataclass(frozen=True)
class PretrainedEncoder:
    """What a self-supervised training gave.

    Attributes:
        path: the encoder's file.
        encoder: its name for people.
        frames: how many frames it learnt from.
        steps: optimiser steps.
        loss: mean loss of the last tenth of the steps.
        notes: what people should know of the training, usually nothing.
    """

    path: Path
    encoder: str
    frames: int
    steps: int
    loss: float
    notes: tuple[str, ...]


def pretrain_on_drive(
    drive_path: Path | str,
    out_folder: Path | str,
    method: str,
    config: Config | None = None,
    frames: Sequence[str] | None = None,
    scenes: Sequence[str] | None = None,
    progress: Progress | None = None,
    layout: str | None = None,
    device: str = "cpu",
) -> PretrainedEncoder:
    """Train an encoder on a drive's frames and write `encoder.safetensors` and `config.yaml` into `out_folder`.

    Args:
        drive_path: a drive log, whose labels aren't read.
        out_folder: where the encoder goes; one there is replaced when the new one is whole.
        method: a name of `lidal3d.learn.pretrain.methods.METHODS`.
        config: all settings; `pretrain`, the method's own group and `units` are used.
        frames: "SCENE/FRAME" each, or None for all frames.
        scenes: only these scenes, or None for all.
        progress: called with (step from 1, loss) after every step.
        layout: the drive's layout, or None to recognise it.
        device: where torch computes.

    Raises:
        UsageError: no such method, scene or frame.
        DataError: no frames, a damaged one, or nothing to learn from.
    """
    config = config or Config()
    drive = chosen_scenes(open_drive(drive_path, layout), scenes, drive_path)
    unlabelled = chosen_frames(drive, frames, drive_path, anything=True)
    losses: list[float] = []

    def note(step: int, loss: float) -> None:
        losses.append(loss)
        if progress is not None:
            progress(step, loss)

    try:
        trained = _trained(unlabelled, method, config, note, device)
    except DataError as error:
        raise DataError(f"{drive_path}: {error}") from None
    path = trained.save(out_folder)
    config.write(Path(out_folder) / CONFIG_FILE)
    last = losses[-max(1, len(losses) // 10) :]
    mean = sum(last) / len(last)
    return PretrainedEncoder(path, trained.name, len(unlabelled), len(losses), mean, tuple(trained.notes))


def pretrain_on(
    scenes: Sequence[Scene], out: Path, method: str, config: Config, seed: int, device: str = "cpu"
) -> Path:
    """Train an encoder and write `encoder.safetensors` into `out`, whole or not at all; one that lies there is kept.

    Args:
        scenes: sweeps, or pictures; no label is read.
        method: its name.
        config: as for `pretrain_on_drive`.
        seed: of everything random, in place of `pretrain.seed`.
        device: where torch computes.

    Raises:
        UsageError: no such method.
        DataError: as `pretrain_on_drive`.
    """
    from lidal3d.learn.pretrain.file import ENCODER_FILE

    if (out / ENCODER_FILE).is_file():
        return out / ENCODER_FILE
    seeded = config.updated({"pretrain": {"seed": seed}})
    return _trained([frame for scene in scenes for frame in scene], method, seeded, None, device).save(out)


def _trained(
    frames: Sequence[Frame], method: str, config: Config, progress: Progress | None, device: str
) -> Pretrained:
    from lidal3d.learn.pretrain.methods import method_named
    from lidal3d.learn.pretrain.train import pretrain

    return pretrain(frames, method_named(method), config, progress, device)
