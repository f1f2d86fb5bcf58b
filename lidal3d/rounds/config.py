# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of an experiment. A YAML file holds them all; an unknown key is an error that names the nearest one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from lidal3d.config import Config, refuse_unknown_keys
from lidal3d.errors import UsageError
from lidal3d.files import write_text
from lidal3d.settings.base import Settings

ENCODER = "encoder"


class SimulateSettings(Settings):
    """A world to simulate: scenes of one town style and one sensor, each with a town of its own."""

    style: Literal["suburb", "downtown"] = Field("suburb", description="town style")
    sensor: Literal["hdl64", "vlp32"] = Field("hdl64", description="64 beams +2..-24.8 deg, or 32 beams +10..-30 deg")
    beams: int | None = Field(None, ge=1, description="beams; None is the sensor's own number")
    columns: int | None = Field(None, ge=8, description="rays a turn and beam; None is the sensor's own number")
    frames: int = Field(50, ge=1, description="sweeps a scene")
    hz: float = Field(10.0, ge=1, le=50, description="sweeps a second")
    scenes: int = Field(4, ge=2, description="how many; the last ones can be kept for validation")
    seed: int = Field(0, ge=0, description="of the first scene's town; the others follow")
    camera_width: int = Field(620, ge=16, description="pictures, where world.cameras asks for them: pixels wide")
    camera_height: int = Field(188, ge=16, description="and high")


class SourceSettings(Settings):
    """A labelled domain to come from: all its labels are trained on in every round, free of charge and never asked for."""

    drive: str | None = Field(None, description="a labelled drive log; None to simulate one")
    layout: str | None = Field(None, description="its layout, or None to recognise it")
    label_map: str | None = Field(None, description="its label map, or None for the data set's own")
    simulate: SimulateSettings | None = Field(None, description="simulated drives instead of a drive log")
    share: float = Field(0.5, gt=0, lt=1, description="of the steps of training, once there are labels of the target")

    @model_validator(mode="after")
    def _one_source(self) -> SourceSettings:
        if (self.drive is None) == (self.simulate is None):
            raise ValueError("give the source a drive or simulate one, and not both")
        return self


class WorldSettings(Settings):
    """Where the sweeps come from, and which scenes are for validation: a scene is never in both.

    A drive of one scene can be split by frames instead; then the table says that validation isn't independent.
    """

    drive: str | None = Field(None, description="a drive log; None to simulate, or to give one with --drive")
    layout: str | None = Field(None, description="its layout, or None to recognise it")
    label_map: str | None = Field(None, description="its label map, or None for the data set's own")
    simulate: SimulateSettings | None = Field(None, description="a simulated world instead of a drive log")
    train: tuple[str, ...] | None = Field(
        None, description="training scenes, or split:train of nuScenes; None: all others"
    )
    validation: tuple[str, ...] = Field((), description="scenes that are only evaluated on; never in a ledger")
    train_frames: tuple[str, ...] | None = Field(
        None, description="frames of one scene or more instead: SCENE/FRAME, or SCENE/FIRST..LAST"
    )
    validation_frames: tuple[str, ...] | None = Field(
        None, description="frames that are only evaluated on; with train_frames, and instead of scenes"
    )
    source: SourceSettings | None = Field(None, description="a labelled domain to adapt from; the rest is the target")
    cameras: str | None = Field(
        None, description="the drive's pictures instead of its sweeps: CAMERA,CAMERA:WIDTH as behind DRIVE@"
    )
    key_frames_only: bool = Field(True, description="evaluate on key frames with labels only")

    @model_validator(mode="after")
    def _one_world(self) -> WorldSettings:
        if self.drive is not None and self.simulate is not None:
            raise ValueError("give a drive or simulate one, not both")
        both = set(self.train or ()) & set(self.validation)
        if both:
            raise ValueError(f"scene '{min(both)}' is both for training and for validation")
        if (self.train_frames is None) != (self.validation_frames is None):
            raise ValueError("give both train_frames and validation_frames, or neither")
        if self.validation_frames is not None:
            if self.train is not None or self.validation:
                raise ValueError("split by scenes or by frames, not both; drop train and validation")
            return self
        if not self.validation:
            raise ValueError("name at least one scene for validation")
        return self


class InitialSettings(Settings):
    """What is labelled before the first round."""

    kind: Literal["frames", "units", "none"] = Field(
        "frames", description="whole frames, or units at random; none where world.source is what is labelled"
    )
    share: float = Field(0.01, gt=0, le=1, description="share of the frames (at least one), or of the points")
    per_scene: bool = Field(False, description="frames: the share of every scene on its own, as LiDAL does on KITTI")


class TrainingSettings(Settings):
    """How a round's model is made of what people labelled and what was assumed, see `lidal3d.rounds.stages`."""

    kind: Literal["single", "gist", "rist"] = Field(
        "single", description="single: both at once; gist, rist: stages on either alone, the better one or at random"
    )
    stages: int = Field(3, ge=1, description="gist, rist: how many stages of train.steps each")
    held_out: float = Field(
        0.1, gt=0, le=0.5, description="gist, rist: share of the asked points that only choose between stages"
    )
    group_frames: int = Field(
        10, ge=1, description="gist, rist: so many frames in a row are held out or trained on together: near copies"
    )


class EncoderSettings(Settings):
    """An encoder that strategies ask: trained without labels on the training frames, once for each seed, or a file."""

    path: str | None = Field(
        None, description="an encoder that there is already, or the weights of a ViT; else a method"
    )
    method: str | None = Field(None, description="twist, barlow, odct or masked of `lidal3d pretrain`")
    config: dict[str, Any] = Field({}, description="settings that its training alone changes")

    @model_validator(mode="after")
    def _one_way(self) -> EncoderSettings:
        if (self.path is None) == (self.method is None):
            raise ValueError("give the encoder a path or a method, and not both")
        return self


class StrategySettings(Settings):
    """A row of the comparison: a strategy and what it changes in the settings."""

    strategy: str | None = Field(None, description="its name in lidal3d.strategies; None: the row's own name")
    encoder: str | None = Field(None, description="which of `encoders` it asks; None: the only one")
    training: dict[str, Any] = Field({}, description="keys of `training` that this row alone changes, or just its kind")
    config: dict[str, Any] = Field({}, description="settings that this row alone changes, for ablations")


class ExperimentConfig(Settings):
    """An active-learning experiment: world, protocol, strategies, seeds."""

    name: str = Field("experiment", description="for the table and the curves")
    world: WorldSettings
    initial: InitialSettings = InitialSettings()
    rounds: int = Field(4, ge=1, description="how often strategies choose; the budget a round is select.budget")
    start: Literal["fresh", "warm"] = Field("fresh", description="fresh weights each round, or the last round's")
    sampling: Literal["points", "frames"] | None = Field(
        None,
        description="how often a frame is trained on: as its labelled points, or all alike (LiDAL); None: by points, or "
        "alike where train.context_m fills each step with labels",
    )
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1, description="each has its own initial set and model")
    training: TrainingSettings = TrainingSettings()
    encoders: dict[str, EncoderSettings] = Field(
        {}, description="name -> an encoder, for strategies that need one; a row names its own where there are several"
    )
    full_supervision: bool = Field(True, description="also train on all labels, with as many steps")
    oracle_noise: float = Field(0.0, ge=0, lt=1, description="share of points that the oracle gets wrong")
    preset: str = Field("default", description="default or paper: what `config` changes")
    config: dict[str, Any] = Field({}, description="settings that all rows share, as in `lidal3d config`")
    strategies: dict[str, StrategySettings] = Field(min_length=1, description="name of the row -> strategy")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, values: Any) -> Any:
        """`strategies: [random, lidal]` and `lidal: null` mean strategies with no change, `training: gist` its kind."""
        if not isinstance(values, dict):
            return values
        values = _with_training_kind(values)
        rows = values.get("strategies")
        if isinstance(rows, (list, tuple)):
            rows = dict.fromkeys(rows)
        if isinstance(rows, dict):
            rows = {name: {} if row is None else _with_training_kind(row) for name, row in rows.items()}
            values = {**values, "strategies": rows}
        return values

    @model_validator(mode="after")
    def _sound(self) -> ExperimentConfig:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"{len(self.seeds)} seeds, {len(set(self.seeds))} of them different; name each once")
        if self.initial.kind == "none" and self.world.source is None:
            raise ValueError("initial.kind none leaves nothing to train the first model on; give world.source")
        if self.sampling == "points":
            self._refuse_points_with_context()
        for name in self.strategies:
            if name in ("initial", "full", "world", "ledgers") or name.startswith(f"{ENCODER}-"):
                raise ValueError(f"a row can't be called '{name}': it is the name of a part of the results")
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"'{name}' is no name for a row: letters, digits, '-' and '_' only")
        for name, row in self.strategies.items():
            if row.encoder is not None and row.encoder not in self.encoders:
                known = ", ".join(self.encoders) or "none"
                raise ValueError(f"row '{name}' asks the encoder '{row.encoder}', there is no such one ({known})")
        return self

    def _refuse_points_with_context(self) -> None:
        """Raise ValueError where steps are filled with labels: that leaves nothing for `sampling` to even out."""
        settings = {"config": self.shared_settings()} | {
            f"strategies.{row}": self.settings_of(row) for row in self.strategies
        }
        for where, config in settings.items():
            if config.train.context_m:
                raise ValueError(
                    f"sampling: points has no meaning with train.context_m {config.train.context_m} (in {where}); "
                    "leave one of them out"
                )

    def settings_of(self, row: str) -> Config:
        """All settings of a row; PT4AL has as many strata as there are rounds. Raises UsageError naming a wrong key."""
        shared = Config.preset(self.preset).updated(self.config, "config")
        config = shared.updated(self.strategies[row].config, f"strategies.{row}.config")
        return config if config.pt4al.strata else config.updated({"pt4al": {"strata": self.rounds}})

    def shared_settings(self) -> Config:
        """The settings that all rows share. Raises UsageError naming a wrong key."""
        return Config.preset(self.preset).updated(self.config, "config")

    def training_of(self, row: str) -> TrainingSettings:
        """How a row's models are trained. Raises UsageError naming a wrong key or value."""
        changes, where = self.strategies[row].training, f"strategies.{row}.training"
        refuse_unknown_keys(changes, TrainingSettings, where, prefix="")
        try:
            return TrainingSettings.model_validate({**self.training.model_dump(), **changes})
        except ValidationError as error:
            raise UsageError(f"{where}: {_first_fault(error)}") from None

    def strategy_of(self, row: str) -> str:
        """The strategy's name in lidal3d.strategies."""
        return self.strategies[row].strategy or row

    def encoder_of(self, row: str) -> str | None:
        """The name of the encoder that a row asks, None where there is none, or several and it names none."""
        named = self.strategies[row].encoder
        return next(iter(self.encoders)) if named is None and len(self.encoders) == 1 else named

    def with_changes(self, **changes: Any) -> ExperimentConfig:
        """A copy with top-level keys replaced, tested anew. Raises UsageError."""
        return parse_experiment({**self.model_dump(), **changes}, "experiment")

    def write(self, path: Path) -> None:
        """Save as YAML."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False))


def load_experiment(path: Path | str) -> ExperimentConfig:
    """Read an experiment's YAML file.

    Raises:
        UsageError: not YAML, an unknown key (the nearest one is named), a wrong type or a value out of range.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a readable YAML file ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected an experiment as 'key: value', found a {type(values).__name__}")
    return parse_experiment(values, str(path))


def _with_training_kind(values: Any) -> Any:
    if isinstance(values, dict) and isinstance(values.get("training"), str):
        return {**values, "training": {"kind": values["training"]}}
    return values


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "experiment"
    return f"{key}: {first['msg'].removeprefix('Value error, ')}"


def parse_experiment(values: dict[str, Any], where: str) -> ExperimentConfig:
    """An experiment from plain values, with every row's settings tested. Raises UsageError as `load_experiment`."""
    values = _with_training_kind(values)
    refuse_unknown_keys(values, ExperimentConfig, where, prefix="")
    world = values.get("world")
    source = world.get("source") if isinstance(world, dict) else None
    for group, model, prefix in ((world, WorldSettings, "world."), (source, SourceSettings, "world.source.")):
        simulate = group.get("simulate") if isinstance(group, dict) else None
        for part, of, name in ((group, model, prefix), (simulate, SimulateSettings, f"{prefix}simulate.")):
            if isinstance(part, dict):
                refuse_unknown_keys(part, of, where, prefix=name)
    try:
        experiment = ExperimentConfig.model_validate(values)
    except ValidationError as error:
        raise UsageError(f"{where}: {_first_fault(error)}") from None
    for row in experiment.strategies:
        experiment.settings_of(row)
        experiment.training_of(row)
    return experiment
