# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The scoring job: the same bytes however it is cut up, and nothing lost when it is cut off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from drives import drive_of, write_predictions

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.interframe import score_frames
from lidal3d.jobs.score import score_drive
from lidal3d.jobs.score_folder import merge_scores
from lidal3d.predictions import PredictionStore
from lidal3d.scene.pose import transform
from lidal3d.scene.scene import Scene
from lidal3d.scores.table import ScoreTable
from lidal3d.units import make_partition

CONFIG = Config().updated({"units": {"kind": "grid", "cell_m": 1.0}, "interframe": {"half_window": 3}})


@pytest.fixture
def drive(tmp_path: Path) -> tuple[list[Scene], PredictionStore]:
    """Two scenes of 23 and 7 frames, opened in the wrong order, one frame empty."""
    rng = np.random.default_rng(0)
    long = drive_of(rng, frames=23, points=[60] * 11 + [0] + [60] * 11, scene_id="01")
    short = drive_of(rng, frames=7, points=40, scene_id="00")
    for scene in (long, short):
        store = write_predictions(tmp_path / "predictions", scene, 5, rng)
    return [long, short], store


def table_bytes(folder: Path) -> bytes:
    return (folder / "scores.parquet").read_bytes()


def test_a_region_is_the_mean_of_its_points(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    table = score_drive(scenes, store, tmp_path / "out", CONFIG).table
    assert table is not None
    assert table.scenes == ("00", "01")
    partition = make_partition(CONFIG.units)
    row = 0
    for place, scene in enumerate([scenes[1], scenes[0]]):
        for scored in score_frames(scene, store, CONFIG.interframe):
            unit = partition(scored.kept)
            xyz = transform(scene.scene_SE3_lidar[scored.index], scored.kept[:, :3])
            for region in range(unit.max() + 1 if len(unit) else 0):
                mask = unit == region
                seen = mask & (scored.scores.matches >= 1)
                assert (table.scene[row], table.frame[row], table.unit[row]) == (place, scored.index, region)
                assert table.points[row] == mask.sum()
                np.testing.assert_allclose(table.center_m[row], xyz[mask].mean(axis=0), atol=1e-9)
                assert table.scores["coverage"][row] == pytest.approx(seen.sum() / mask.sum())
                assert table.scores["entropy"][row] == pytest.approx(scored.scores.entropy[mask].mean(), abs=1e-6)
                paper = np.where(scored.scores.matches > 0, scored.scores.divergence, 0)[mask].mean()
                assert table.scores["divergence_paper"][row] == pytest.approx(paper, abs=1e-6)
                expected = scored.scores.divergence[seen].mean() if seen.any() else np.nan
                assert table.scores["divergence"][row] == pytest.approx(expected, abs=1e-6, nan_ok=True)
                votes = np.bincount(scored.scores.predicted[mask], minlength=5)
                assert table.scores["predicted_class"][row] == votes.argmax()
                row += 1
    assert row == len(table)


@pytest.mark.parametrize("frames_a_part", [1, 4, 1000])
def test_bytes_do_not_depend_on_the_length_of_a_part(drive, tmp_path, frames_a_part) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    score_drive(scenes, store, tmp_path / "whole", CONFIG)
    score_drive(scenes, store, tmp_path / "parts", CONFIG, frames_a_part=frames_a_part)
    assert table_bytes(tmp_path / "parts") == table_bytes(tmp_path / "whole")


@pytest.mark.parametrize("shards", [1, 2, 3, 9])
def test_bytes_do_not_depend_on_the_number_of_shards(drive, tmp_path, shards) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    score_drive(scenes, store, tmp_path / "whole", CONFIG)
    folders = [tmp_path / f"shard-{i}" for i in range(shards)]
    for i, folder in enumerate(folders):
        score_drive(scenes, store, folder, CONFIG, shard=(i + 1, shards), frames_a_part=4)
    merge_scores(folders, tmp_path / "merged")
    assert table_bytes(tmp_path / "merged") == table_bytes(tmp_path / "whole")


def test_bytes_do_not_depend_on_the_number_of_workers(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    ticks: list[int] = []
    score_drive(scenes, store, tmp_path / "one", CONFIG)
    score_drive(scenes, store, tmp_path / "two", CONFIG, workers=2, frames_a_part=4, tick=lambda: ticks.append(1))
    assert table_bytes(tmp_path / "two") == table_bytes(tmp_path / "one")
    assert len(ticks) == 30


def test_an_interrupted_run_continues_and_does_nothing_twice(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    score_drive(scenes, store, tmp_path / "whole", CONFIG)
    asked: list[int] = []

    def stop_after_ten() -> None:
        asked.append(1)
        if len(asked) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_drive(scenes, store, tmp_path / "out", CONFIG, frames_a_part=4, tick=stop_after_ten)
    done = sorted((tmp_path / "out" / "parts").rglob("*.arrow"))
    assert len(done) == 2
    asked.clear()
    totals: list[int] = []
    score_drive(
        scenes, store, tmp_path / "out", CONFIG, frames_a_part=4, start=totals.append, tick=lambda: asked.append(1)
    )
    assert totals == [30 - 7]
    assert len(asked) == 30 - 7
    assert table_bytes(tmp_path / "out") == table_bytes(tmp_path / "whole")


def test_a_folder_of_other_settings_is_refused_and_stays_as_it_is(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    score_drive(scenes, store, tmp_path / "out", CONFIG)
    before = table_bytes(tmp_path / "out")
    with pytest.raises(DataError, match="settings; choose another --out"):
        score_drive(scenes, store, tmp_path / "out", CONFIG.updated({"interframe": {"half_window": 2}}))
    assert table_bytes(tmp_path / "out") == before


def test_shards_of_other_settings_or_an_incomplete_set_do_not_merge(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    score_drive(scenes, store, tmp_path / "a", CONFIG, shard=(1, 2), frames_a_part=4)
    with pytest.raises(DataError, match=r"4 of 8 parts there \(first missing: scene 01, frames 8-11\)"):
        merge_scores([tmp_path / "a"], tmp_path / "merged")
    other = CONFIG.updated({"interframe": {"half_window": 2}})
    score_drive(scenes, store, tmp_path / "b", other, shard=(2, 2), frames_a_part=4)
    with pytest.raises(DataError, match="other settings"):
        merge_scores([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    assert not (tmp_path / "merged" / "scores.parquet").exists()


def test_keep_going_leaves_out_bad_frames_and_says_which(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    store.probabilities_path("01", "000005").unlink()
    store.probabilities_path("00", "000002").write_bytes(b"not an array")
    with pytest.raises(DataError, match="000002"):
        score_drive(scenes, store, tmp_path / "strict", CONFIG)
    for workers in (1, 2):
        out = tmp_path / f"kept-{workers}"
        result = score_drive(scenes, store, out, CONFIG, workers=workers, keep_going=True, frames_a_part=4)
        assert result.table is not None
        present = {
            (result.table.scenes[s], int(f)) for s, f in zip(result.table.scene, result.table.frame, strict=True)
        }
        assert {("01", 5), ("00", 2)}.isdisjoint(present)
        assert len(present) == 30 - 3  # and the empty sweep has no region
        lines = [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()]
        assert [(line["scene"], line["frame"]) for line in lines] == [("00", 2), ("01", 5)]
        assert "missing" in lines[1]["error"]
    assert table_bytes(tmp_path / "kept-1") == table_bytes(tmp_path / "kept-2")


def test_an_empty_drive_and_a_wrong_shard_are_refused(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    with pytest.raises(DataError, match="no frames"):
        score_drive([], store, tmp_path / "out", CONFIG)
    with pytest.raises(UsageError, match="3/2"):
        score_drive(scenes, store, tmp_path / "out", CONFIG, shard=(3, 2))
    assert not (tmp_path / "out").exists()


def test_a_table_is_read_as_it_was_written(drive, tmp_path) -> None:  # type: ignore[no-untyped-def]
    scenes, store = drive
    table = score_drive(scenes, store, tmp_path / "out", CONFIG).table
    assert table is not None
    again = ScoreTable.read(tmp_path / "out" / "scores.parquet")
    assert again.scenes == table.scenes
    assert again.metadata == table.metadata
    assert again.kind == "grid"
    for name, column in table.scores.items():
        np.testing.assert_array_equal(again.scores[name], column)
    np.testing.assert_array_equal(again.center_m, table.center_m)
