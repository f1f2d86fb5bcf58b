# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of lidal3d with its default. No file is needed; a YAML file or `--set key=value` changes single keys.

`Config.preset("paper")` is what LiDAL's released code does (comparable), `Config.preset("default")` is repaired.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from lidal3d.errors import UsageError
from lidal3d.files import write_text
from lidal3d.settings.base import Settings
from lidal3d.settings.boxes import BoxesConfig
from lidal3d.settings.carry import CarryConfig
from lidal3d.settings.d2ada import D2adaConfig
from lidal3d.settings.geal import GealConfig
from lidal3d.settings.interframe import InterframeConfig
from lidal3d.settings.joint import JointConfig
from lidal3d.settings.learning_loss import LearningLossConfig
from lidal3d.settings.masked import MaskedConfig
from lidal3d.settings.odct import OdctConfig
from lidal3d.settings.predict import PredictConfig
from lidal3d.settings.pretrain import BarlowConfig, PretrainConfig, TwistConfig
from lidal3d.settings.pseudo import PseudoConfig
from lidal3d.settings.pt4al import Pt4alConfig
from lidal3d.settings.report import ReportConfig
from lidal3d.settings.select import SelectConfig
from lidal3d.settings.tod import TodConfig
from lidal3d.settings.tracks import TracksConfig
from lidal3d.settings.train import TrainConfig
from lidal3d.settings.units import UnitsConfig
from lidal3d.settings.usl import UslConfig
from lidal3d.settings.vaal import VaalConfig


class Config(Settings):
    """All settings. Saved beside every result."""

    units: UnitsConfig = UnitsConfig()
    interframe: InterframeConfig = InterframeConfig()
    tracks: TracksConfig = TracksConfig()
    boxes: BoxesConfig = BoxesConfig()
    select: SelectConfig = SelectConfig()
    d2ada: D2adaConfig = D2adaConfig()
    geal: GealConfig = GealConfig()
    learning_loss: LearningLossConfig = LearningLossConfig()
    vaal: VaalConfig = VaalConfig()
    pt4al: Pt4alConfig = Pt4alConfig()
    tod: TodConfig = TodConfig()
    usl: UslConfig = UslConfig()
    pseudo: PseudoConfig = PseudoConfig()
    carry: CarryConfig = CarryConfig()
    train: TrainConfig = TrainConfig()
    joint: JointConfig = JointConfig()
    pretrain: PretrainConfig = PretrainConfig()
    twist: TwistConfig = TwistConfig()
    barlow: BarlowConfig = BarlowConfig()
    masked: MaskedConfig = MaskedConfig()
    odct: OdctConfig = OdctConfig()
    predict: PredictConfig = PredictConfig()
    report: ReportConfig = ReportConfig()

    @classmethod
    def preset(cls, name: str) -> Config:
        """The settings of a preset: "default" or "paper"."""
        if name not in PRESETS:
            raise UsageError(f"no preset named '{name}' (known: {', '.join(PRESETS)})")
        return cls.model_validate(PRESETS[name])

    def updated(self, changes: dict[str, Any], where: str = "config") -> Config:
        """A copy with nested `changes` applied. Raises UsageError naming the wrong key and the nearest right one."""
        refuse_unknown_keys(changes, type(self), where, prefix="")
        merged = _merge(self.model_dump(), changes)
        try:
            return type(self).model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{where}: {key} = {first['input']!r}: {first['msg']}") from None

    def assigned(self, assignments: Sequence[str]) -> Config:
        """A copy with assignments like "interframe.half_window=8" applied. Raises UsageError as `updated` does."""
        config = self
        for assignment in assignments:
            config = config.updated(_assignment(assignment), f"--set {assignment}")
        return config

    def write(self, path: Path) -> None:
        """Save as YAML."""
        write_text(path, yaml.safe_dump(self.model_dump(), sort_keys=False))


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "units": {"kind": "kmeans"},
        "interframe": {"window": "index"},
        "select": {"score": "divergence_paper", "rule": "paper", "earlier_rounds": False, "min_points": 1},
        "d2ada": {"rule": "paper"},
        "usl": {"neighbours": 20, "exclude_s": 0, "iterations": 2, "weight": 1.5, "momentum": 0, "nearest": 128,
                "horizon": 1e9, "scale": "paper"},
        "geal": {"patterns": 5, "cut": "squash", "frame_share": 0},
        "vaal": {"rule": "paper"},
        "pt4al": {"rule": "paper", "min_gap_s": 0},
        "learning_loss": {"ties": "released", "held_out": 0, "gate": 0},
        "pseudo": {"rule": "paper", "score": "divergence_paper", "min_coverage": 0, "max_divergence": 1e9,
                   "max_entropy": 1e9, "min_confidence": 0, "max_class_share": 1, "weight": 1},
        "train": {"width": 1.0, "blocks": 2, "voxel_m": 0.05, "steps": 20000, "batch": 5, "learning_rate": 1e-3,
                  "weight_decay": 0, "class_balance": 0, "augmentation": "paper"},
    },
}  # fmt: skip


def load_config(preset: str = "default", file: Path | None = None, assignments: tuple[str, ...] = ()) -> Config:
    """A preset, changed by a YAML file, changed by assignments like "interframe.half_window=8".

    Raises:
        UsageError: an unknown key (the nearest one is named), a wrong type, or a file that is not YAML.
    """
    config = Config.preset(preset)
    if file is not None:
        try:
            changes = yaml.safe_load(file.read_text()) or {}
        except (OSError, yaml.YAMLError) as error:
            raise UsageError(f"{file}: not a readable YAML file ({str(error).splitlines()[0]})") from None
        if not isinstance(changes, dict):
            raise UsageError(f"{file}: expected settings as 'group: {{key: value}}', found a {type(changes).__name__}")
        config = config.updated(changes, str(file))
    return config.assigned(assignments)


def configs_folder() -> Path:
    """Where the documented settings files lie: inside the installed package, or at the top of a source checkout."""
    installed = Path(__file__).resolve().parent / "configs"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[1] / "configs"


def _assignment(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: expected key=value, for example interframe.half_window=8")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"--set {text}: '{value}' is not a YAML value; put it in quotes") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return merged


def refuse_unknown_keys(changes: dict[str, Any], model: type[BaseModel], where: str, prefix: str) -> None:
    for key, value in changes.items():
        if key not in model.model_fields:
            near = difflib.get_close_matches(str(key), model.model_fields, n=1, cutoff=0.4)
            hint = f"; did you mean '{prefix}{near[0]}'?" if near else f" (known: {', '.join(model.model_fields)})"
            raise UsageError(f"{where}: unknown key '{prefix}{key}'{hint}")
        inner = model.model_fields[key].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if not isinstance(value, dict):
                raise UsageError(f"{where}: '{prefix}{key}' is a group of settings, not a value ({value!r})")
            refuse_unknown_keys(value, inner, where, f"{prefix}{key}.")
