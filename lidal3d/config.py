# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Every setting of lidal3d with its default. No file is needed; a YAML file or `--set key=value` changes single keys.

`Config.preset("paper")` is what LiDAL's released code does (comparable), `Config.preset("default")` is repaired.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from lidal3d.errors import UsageError
from lidal3d.files import write_text
from lidal3d.settings import learning_loss
from lidal3d.settings.base import Settings
from lidal3d.settings.geal import GealConfig
from lidal3d.settings.joint import JointConfig
from lidal3d.settings.learning_loss import LearningLossConfig
from lidal3d.settings.masked import MaskedConfig
from lidal3d.settings.odct import OdctConfig
from lidal3d.settings.pretrain import BarlowConfig, PretrainConfig, TwistConfig
from lidal3d.settings.pt4al import Pt4alConfig
from lidal3d.settings.tod import TodConfig
from lidal3d.settings.usl import UslConfig
from lidal3d.settings.vaal import VaalConfig


class UnitsConfig(Settings):
    """How a sweep is cut into regions."""

    kind: Literal["supervoxels", "kmeans", "grid", "frame", "track", "superpixels", "image"] = Field(
        "supervoxels",
        description="supervoxels follow surfaces; kmeans is LiDAL's 20 balanced regions a sweep; track: things over time; "
        "of pictures (DRIVE@CAMERA) superpixels or image",
    )
    regions: int = Field(20, ge=1, description="kmeans: regions a sweep")
    size_tolerance: float = Field(0.05, gt=0, lt=1, description="kmeans: how far a region's size may be off N/regions")
    voxel_m: float = Field(0.2, gt=0, description="supervoxels: edge of a voxel at the sensor; it grows with range")
    widest_m: float = Field(12.0, gt=0, description="supervoxels: widest extent at the sensor; it grows with range")
    merge_cost: float = Field(1.0, ge=0, description="supervoxels: how unlike two parts may be; more: fewer, larger")
    min_points: int = Field(20, ge=1, description="supervoxels: one with fewer points joins the nearest larger one")
    cell_m: float = Field(4.0, gt=0, description="grid: edge of a cell")
    superpixels: int = Field(150, ge=1, description="superpixels: about so many in a picture")
    compactness: float = Field(
        0.15, gt=0, description="superpixels: how much a grid step of distance counts, in colour from 0 to 1"
    )


class InterframeConfig(Settings):
    """LiDAL's inter-frame divergence and entropy (ECCV 2022, section 3)."""

    half_window: int = Field(12, ge=1, le=24, description="neighbour frames on each side")
    radius_m: float = Field(0.1, gt=0, description="a neighbour frame's nearest point counts up to this distance")
    epsilon: float = Field(1e-5, ge=1e-6, description="added to every probability before the logarithm")
    window: Literal["index", "distance"] = Field(
        "distance", description="index: the nearest frames by number (paper); distance: only frames the car moved for"
    )
    min_step_m: float = Field(0.25, ge=0, description="window=distance: neighbours are at least this far apart")
    min_turn_rad: float = Field(0.01, ge=0, description="window=distance: or turned at least this much")
    min_matches: int = Field(1, ge=1, description="a point with fewer matches is unknown, not certain")


class TracksConfig(Settings):
    """Segments of sweeps, and their tracks over time."""

    ground_height_m: float = Field(0.2, gt=0, description="points up to this far above the ground belong to it")
    ground_slope: float = Field(0.12, ge=0, description="rise of the ground over distance that is believed")
    ground_step_m: float = Field(0.15, gt=0, description="step of the ground that is believed anywhere: a curb")
    voxel_m: float = Field(0.16, gt=0, description="points in touching voxels are one segment; they grow with range")
    min_points: int = Field(10, ge=1, description="smaller segments are left out")
    widest_m: float = Field(16.0, gt=0, description="wider segments (walls, hedges) are cut into tiles of the ground")
    tile_m: float = Field(8.0, gt=0, description="edge of these tiles")
    gate_m: float = Field(0.6, gt=0, description="a segment this near to where a track should be can be its next")
    gate_mps: float = Field(4.0, ge=0, description="and so much farther for each second since it was seen last")
    new_gate_mps: float = Field(16.0, ge=0, description="the same for a track seen once, whose speed is unknown")
    max_missed: int = Field(3, ge=0, description="sweeps that a track may be hidden for")
    min_sweeps: int = Field(3, ge=1, description="shorter tracks are left out")


class BoxesConfig(Settings):
    """How the boxes of neighbouring frames are compared (with score --boxes)."""

    match_m: float = Field(
        2.0, gt=0, description="a neighbour frame's nearest box counts up to this distance of centres"
    )
    view_m: float = Field(50.0, gt=0, description="a place further from the sensor counts as out of its view")


class SelectConfig(Settings):
    """Greedy selection under a budget, with redundancy removal."""

    budget: str = Field(
        "1%",
        coerce_numbers_to_str=True,
        description="1%, 50000:points, 20:regions, 20:boxes, 10:frames or 3600:seconds",
    )
    score: str = Field("lidal", description="score column to rank by; lidal = divergence with unknown points imputed")
    min_distance_m: float | None = Field(
        None,
        ge=0,
        description="of two units closer than this only one is asked; null: 2 for supervoxels and superpixels, 1 for boxes, 0 for tracks, else 5",
    )
    rule: Literal["default", "paper"] = Field(
        "default", description="default re-tests after swaps and fills the budget; paper is LiDAL's released loop"
    )
    earlier_rounds: bool = Field(True, description="also keep the distance to regions chosen in earlier rounds")
    min_points: int = Field(10, ge=1, description="smaller regions are not asked about: a few stray points")
    seed: int = Field(0, ge=0, description="seed of strategies that leave something to chance")
    seconds_per_unit: float = Field(20.0, ge=0, description="labelling time model: seconds to open a unit")
    seconds_per_1000_points: float = Field(10.0, ge=0, description="labelling time model: seconds for 1000 points")

    def distance_m(self, kind: str) -> float:
        """The least distance between regions of a kind: LiDAL's 5 m suits its regions, which are some 6 m wide.

        Supervoxels are a third as wide; at 5 m they would run out before a budget of 1 % is spent. The boxes of one
        parked object lie within 1 m of each other, and two pedestrians may stand little further apart. A
        track is one thing, asked about once: there is nothing to remove.
        """
        if self.min_distance_m is not None:
            return self.min_distance_m
        return {"supervoxels": 2.0, "superpixels": 2.0, "box": 1.0, "track": 0.0}.get(kind, 5.0)


class D2adaConfig(Settings):
    """Strategies d2ada, d2ada_density and d2ada_frames: what the target has and the source lacks, then uncertainty."""

    rule: Literal["default", "paper"] = Field(
        "default",
        description="default: held-out densities of few dimensions; paper: the estimator of the released code",
    )
    alpha: float = Field(1.0, ge=0, description="share of the first round's budget that goes by density; at most 1")
    beta: float = Field(1.0, ge=0, description="the share is divided by 2^beta every further round")
    dimensions: int = Field(32, ge=1, le=64, description="default: principal components of the features")
    components: int = Field(8, ge=1, le=64, description="default: Gaussians a class at most; BIC chooses how many")
    folds: int = Field(5, ge=2, description="default: scenes are dealt into so many folds, each held out in turn")
    place_m: float = Field(
        1.0, ge=0, description="default: of the units of a class in a cell of this edge one counts; 0: all do"
    )
    range_strata: bool = Field(
        False, description="default: standardise features apart for up to 10, 20, 40 m and beyond"
    )


class PseudoConfig(Settings):
    """Pseudo-labels: regions that every view agrees on."""

    budget: str = Field("1%", coerce_numbers_to_str=True, description="as select.budget; 0 turns pseudo-labels off")
    rule: Literal["default", "paper"] = Field("default", description="as select.rule, for pseudo-labelled regions")
    score: str = Field("divergence", description="score column to rank by, smallest first")
    min_coverage: float = Field(0.5, ge=0, le=1, description="least share of a region's points seen in a neighbour")
    max_divergence: float = Field(0.1, ge=0, description="largest divergence of a pseudo-labelled region")
    max_entropy: float = Field(1.0, ge=0, description="largest inter-frame entropy, nats")
    min_confidence: float = Field(0.5, ge=0, le=1, description="points below it get no pseudo-label")
    max_class_share: float = Field(0.3, gt=0, le=1, description="largest share of the budget for one class")
    weight: float = Field(0.5, gt=0, le=1, description="weight of a pseudo-label in training; a human label has 1")


class CarryConfig(Settings):
    """People's labels carried through the poses to the same places in neighbouring sweeps, for training."""

    by: Literal["place", "track"] = Field(
        "place", description="place: what stands still, around it in time; track: things, to all sweeps that show them"
    )
    half_window: int = Field(
        0, ge=0, description="by=place: sweeps on each side that a label is carried to; 0 carries none"
    )
    radius_m: float = Field(0.1, gt=0, description="a point takes the label of the nearest labelled one this near")
    weight: float = Field(1.0, gt=0, le=1, description="weight of a carried label in training; a human label has 1")


class TrainConfig(Settings):
    """The built-in networks and their training."""

    architecture: Literal["minkunet", "spvcnn", "unet2d"] = Field(
        "minkunet", description="spvcnn adds a point branch; of pictures it is unet2d"
    )
    backend: Literal["torch", "spconv"] = Field("torch", description="what computes sparse convolutions in training")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="bfloat16: mixed precision, for GPUs")
    width: float = Field(0.25, gt=0, description="factor on the channels, for sweeps 32 32 64 128 256 256 128 96 96")
    blocks: int = Field(1, ge=1, description="residual blocks a level")
    voxel_m: float = Field(0.2, gt=0, description="edge of a voxel")
    max_range_m: float = Field(60.0, gt=0, description="points further away are not used in training")
    steps: int = Field(400, ge=1, description="optimiser steps")
    batch: int = Field(
        1, ge=1, description="sweeps or pictures a step over all processes; with context_m or window_px parts of more"
    )
    context_m: float = Field(
        0.0, ge=0, description="train only on points this near to a label, so that a step holds more labels; 0: all"
    )
    window_px: int = Field(
        128, ge=0, description="of pictures a step sees windows of this edge, each about a label of another; 0: all"
    )
    learning_rate: float = Field(3e-3, gt=0, description="peak of the schedule")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="what follows the linear rise")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's")
    class_balance: float = Field(0.5, ge=0, le=1, description="a class weighs frequency^-this; 0 treats all alike")
    augmentation: Literal["default", "paper"] = Field(
        "default", description="default: rotation, mirror, scale; paper: LiDAL's random affine map"
    )
    checkpoint_every: int = Field(0, ge=0, description="steps between checkpoints to resume from; 0 writes none")
    seed: int = Field(0, description="seed of everything random in training")

    def fills(self, pictures: bool) -> bool:
        """Whether a step is filled with labels of as many frames as it takes."""
        return (self.window_px if pictures else self.context_m) > 0


class PredictConfig(Settings):
    """Inference with the built-in model."""

    views: int = Field(8, ge=1, description="random augmentations whose softmax is averaged")
    dtype: Literal["float16", "float32"] = Field("float16", description="type of the saved probabilities")
    features: bool = Field(False, description="also save the network's point features")
    members: bool = Field(False, description="also save each view's probabilities")
    seed: int = Field(0, description="seed of the augmentations")


class ReportConfig(Settings):
    """The HTML report."""

    picks: int = Field(50, ge=0, description="how many picks are drawn")
    crop_m: float = Field(14.0, gt=0, description="edge of a bird's-eye crop; larger regions get larger crops")
    cameras: bool = Field(True, description="draw the camera crops")


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
        "learning_loss": learning_loss.PAPER,
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
