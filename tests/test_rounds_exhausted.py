# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A row that has nothing left to ask costs the others nothing."""

from __future__ import annotations

from experiments import tiny

from lidal3d.rounds.experiment import run_experiment
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.world import open_world


def test_a_row_that_runs_out_goes_on_with_what_it_has(tmp_path):
    wide = {"strategy": "lidal_human", "config": {"select": {"min_distance_m": 500.0}}}
    experiment = tiny(strategies={"random": None, "wide": wide})
    result = run_experiment(experiment, tmp_path / "out")
    assert "wide: nothing was left to ask in round 2 of seed 3; trained on what there was." in result.table
    labelled = {(row.strategy, row.round): row.labelled_points for row in result.rows}
    assert labelled["wide", 1] == labelled["wide", 2] < labelled["random", 2]
    world = open_world(experiment.world, tmp_path / "out")
    ledger = Ledger.open(tmp_path / "out" / "seed-3" / "wide" / "ledger.jsonl", world.train)
    assert ledger.last_round == 1
    assert run_experiment(experiment, tmp_path / "out").table == result.table
