# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Experiment files: every shipped one is sound, and a wrong key or value is one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lidal3d.config import configs_folder
from lidal3d.errors import UsageError
from lidal3d.jobs.experiment import changed, find_file
from lidal3d.rounds.config import load_experiment, parse_experiment
from lidal3d.rounds.seeds import derived_seed
from lidal3d.rounds.world import split
from lidal3d.strategies import STRATEGIES

SHIPPED = sorted(path for path in configs_folder().glob("*/*.yaml"))
SOUND = {"world": {"simulate": {"scenes": 2}, "validation": ["01"]}, "strategies": ["random", "lidal"]}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_experiments_are_sound(path):
    experiment = load_experiment(path)
    for row in experiment.strategies:
        assert experiment.strategy_of(row) in STRATEGIES
        experiment.settings_of(row)
    again = parse_experiment(yaml.safe_load(yaml.safe_dump(experiment.model_dump(mode="json"))), "again")
    assert again == experiment


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"round": 3}, "unknown key 'round'; did you mean 'rounds'"),
        ({"config": {"trian": {"steps": 3}}}, "unknown key 'trian'; did you mean 'train'"),
        ({"config": {"train": {"step": 3}}}, "did you mean 'train.steps'"),
        ({"world": {**SOUND["world"], "simulate": {"frame": 3}}}, "did you mean 'world.simulate.frames'"),
        ({"world": {"simulate": {}, "validation": []}}, "name at least one scene for validation"),
        ({"world": {"simulate": {}, "train": ["00"], "validation": ["00"]}}, "both for training and for validation"),
        ({"world": {**SOUND["world"], "drive": "x"}}, "not both"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "2 seeds, 1 of them different"),
        ({"strategies": {"a/b": {"strategy": "random"}}}, "'a/b' is no name for a row"),
        ({"strategies": {"lidal": {"config": {"select": {"budge": "1%"}}}}}, "did you mean 'select.budget'"),
        ({"start": "hot"}, "start"),
        ({"sampling": "points", "config": {"train": {"context_m": 0.5}}}, "train.context_m 0.5 (in config)"),
        (
            {"sampling": "points", "strategies": {"random": {"config": {"train": {"context_m": 2.0}}}}},
            "sampling: points has no meaning with train.context_m 2.0 (in strategies.random); leave one of them out",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(change, words):
    with pytest.raises(UsageError) as error:
        parse_experiment({**SOUND, **change}, "file.yaml")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_sampling_is_left_to_what_fills_a_step():
    filled = {**SOUND, "config": {"train": {"context_m": 0.5}}}
    assert parse_experiment(filled, "").sampling is None
    assert parse_experiment({**filled, "sampling": "frames"}, "").sampling == "frames"
    assert parse_experiment({**SOUND, "sampling": "points"}, "").sampling == "points"


def test_short_forms_of_strategies():
    rows = {"random": None, "no-guesses": {"strategy": "lidal", "config": {"pseudo": {"budget": "0"}}}}
    experiment = parse_experiment({**SOUND, "strategies": rows}, "")
    assert experiment.strategy_of("no-guesses") == "lidal"
    assert experiment.settings_of("no-guesses").pseudo.budget == "0"
    assert experiment.settings_of("random").pseudo.budget == "1%"
    assert parse_experiment({**SOUND, "strategies": ["random"]}, "").strategies.keys() == {"random"}


def test_the_command_line_changes_drive_seeds_and_rows():
    experiment = parse_experiment({"world": {"validation": ["08"]}, "strategies": ["random", "lidal"]}, "")
    narrowed = changed(experiment, Path("/data/kitti"), None, None, [7], ["lidal"])
    assert (narrowed.world.drive, narrowed.seeds, list(narrowed.strategies)) == ("/data/kitti", (7,), ["lidal"])
    with pytest.raises(UsageError, match="no row 'redal' in the experiment"):
        changed(experiment, None, None, None, [], ["redal"])
    assert find_file("sandbox/smoke") == configs_folder() / "sandbox" / "smoke.yaml"
    with pytest.raises(UsageError, match="sandbox/cpu"):
        find_file("sandbox/none")


def test_scenes_are_split_by_name():
    world = load_experiment(configs_folder() / "semantickitti" / "lidal.yaml").world
    known = [f"{k:02d}" for k in range(11)]
    train, validation = split(world, known, Path("kitti"))
    assert (train, validation) == (["00", "01", "02", "03", "04", "05", "06", "07", "09", "10"], ["08"])
    with pytest.raises(UsageError, match="no scene '08' among its 1"):
        split(world, ["00"], Path("kitti"))


def test_official_splits_of_nuscenes_by_name():
    world = load_experiment(configs_folder() / "nuscenes" / "lidal.yaml").world
    train, validation = split(world, ["scene-0001", "scene-0003", "scene-0061"], Path("nuscenes"))
    assert (train, validation) == (["scene-0001", "scene-0061"], ["scene-0003"])


def test_seeds_say_what_they_are_for():
    seeds = {derived_seed(what, seed, k) for what in ("train", "predict") for seed in range(5) for k in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**32 for seed in seeds)
