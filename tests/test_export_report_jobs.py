# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The jobs behind `lidal3d export` and `lidal3d report`, on a miniature SemanticKITTI drive and a manifest on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from miniature import make_scenes, write_semantickitti

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.export.options import ExportOptions
from lidal3d.interframe import point_scores
from lidal3d.jobs.export import FORMATS, export_job
from lidal3d.jobs.quality import queue_quality
from lidal3d.jobs.report import StreamedDivergence, manifest_config, report_facts, report_job, settings_text
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.open import open_drive
from lidal3d.scores.table import ScoreTable
from lidal3d.select.manifest import write_manifest
from lidal3d.select.points import point_sets
from lidal3d.select.selection import Pick, Selection, UnitKey

FRAMES = 5
CONFIG = Config().updated({"select": {"budget": "9:regions"}, "units": {"kind": "grid"}})


def pick(rank: int, scene: str, frame: int, unit: int) -> Pick:
    return Pick(rank, UnitKey(scene, frame, unit), f"{frame:06d}", frame, "grid", 5, 1.0, (0.0, 0.0, 0.0),
                {"divergence": 0.5}, "the model contradicts itself", ())  # fmt: skip


def members(frame: int, unit: int) -> np.ndarray:
    return np.arange(5, dtype=np.int32) + 5 * unit + frame % 3


class Round:
    """A drive, predictions, scores and a manifest in one folder."""

    def __init__(self, folder: Path) -> None:
        drawn = make_scenes(1, ["00", "01"], [10, 40, 70], ["image_2"], frames=FRAMES, instances=True)
        write_semantickitti(folder / "drive", drawn)
        self.scenes = {scene.id: scene for scene in open_drive(folder / "drive")}
        classes = self.scenes["00"].label_map.classes
        self.store = PredictionStore(folder / "predictions", classes, "toy", 2)
        rng = np.random.default_rng(0)
        for scene in self.scenes.values():
            for frame in scene:
                rows = rng.dirichlet(np.full(len(classes), 0.2), len(frame.points()))
                self.store.write(scene.id, frame.name, rows.astype(np.float32))
        self.store.write_header()
        keys = [(s, f, u) for s in (0, 1) for f in range(FRAMES) for u in range(5)]
        scene, frame, unit = (np.array([key[i] for key in keys], np.int32) for i in range(3))
        table = ScoreTable(("00", "01"), scene, frame, unit, np.full(len(keys), 5), rng.normal(size=(len(keys), 3)),
                           {"divergence": rng.uniform(size=len(keys))}, "grid")  # fmt: skip
        table.write(folder / "scores" / "scores.parquet")
        asked = [("01", 3, 1), ("00", 0, 2), ("01", 3, 4)]
        assumed = [("01", 3, 0), ("00", 1, 3)]
        self.asked = Selection(tuple(pick(i + 1, *k) for i, k in enumerate(asked)), "lidal", "regions", 9, 3)
        pseudo = Selection(tuple(pick(i + 1, *k) for i, k in enumerate(assumed)), "lidal pseudo", "points", 90, 10)
        source = {name: str(folder / name) for name in ("drive", "predictions", "scores")}
        self.folder, self.selection = folder, folder / "selection"
        write_manifest(
            self.asked, pseudo, self.selection, CONFIG, point_sets([members(f, u) for _, f, u in asked]),
            point_sets([members(f, u) for _, f, u in assumed], [np.full(5, 8, np.uint8)] * 2,
                       [np.ones(5, np.float32)] * 2),
            classes=classes, source=source,
        )  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Round:
    return Round(tmp_path)


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "label_studio"])
def test_every_format_is_written_whole(made, format):
    out = made.folder / "out"
    queue = export_job(made.selection, out, format)
    assert [unit.pick for unit in queue.asked] == list(made.asked.picks)
    assert any(path.is_file() for path in out.rglob("*"))
    assert not list(made.folder.glob(".writing-*"))


def test_point_labeler_labels_are_those_of_the_manifest(made):
    export_job(made.selection, made.folder / "out", "point_labeler", options=ExportOptions(margin=1))
    assert sorted(p.name for p in (made.folder / "out").iterdir() if p.is_dir()) == [
        "00_000000-000001", "01_000002-000004"]  # fmt: skip
    labels = np.fromfile(made.folder / "out" / "01_000002-000004" / "labels" / "000001.label", np.uint32)
    want = np.full(len(labels), 999)
    want[members(3, 0)] = 40  # train id 8 is road, raw 40
    want[members(3, 1)] = want[members(3, 4)] = 0
    np.testing.assert_array_equal(labels, want)


def test_a_copied_manifest_has_no_paths(made):
    export_job(made.selection, made.folder / "out", "manifest")
    names = {path.name for path in (made.folder / "out").iterdir()}
    assert {"manifest.jsonl", "manifest.parquet", "points.npz", "config.yaml"} <= names
    assert "source.yaml" not in names


def test_exporting_refuses_what_would_do_harm(made):
    with pytest.raises(UsageError, match=r"no export format 'point_labeller'.*did you mean 'point_labeler'"):
        export_job(made.selection, made.folder / "out", "point_labeller")
    export_job(made.selection, made.folder / "out", "segments_ai")
    with pytest.raises(UsageError, match=r"holds .* answers may be among them"):
        export_job(made.selection, made.folder / "out", "segments_ai")
    export_job(made.selection, made.folder / "out", "point_labeler", overwrite=True)
    assert not (made.folder / "out" / "samples.json").exists()
    with pytest.raises(DataError, match=r"manifest\.parquet: no manifest there"):
        export_job(made.folder, made.folder / "other", "segments_ai")


def test_a_failed_export_leaves_nothing_behind(made):
    (made.folder / "drive" / "sequences" / "01" / "velodyne" / "000004.bin").write_bytes(b"123")
    before = sorted(made.folder.iterdir())
    with pytest.raises(DataError, match=r"000004\.bin"):
        export_job(made.selection, made.folder / "out", "segments_ai")
    assert sorted(made.folder.iterdir()) == before


def test_a_drive_elsewhere_can_be_named(made):
    (made.folder / "drive").rename(made.folder / "moved")
    with pytest.raises(DataError):
        export_job(made.selection, made.folder / "out", "segments_ai")
    export_job(made.selection, made.folder / "out", "segments_ai", drive=made.folder / "moved")
    assert len(json.loads((made.folder / "out" / "samples.json").read_text())) == 2


def test_the_report_is_written_and_says_what_it_is_of(made):
    told = []
    path = report_job(made.selection, None, made.folder / "out", created="noon", progress=lambda *n: told.append(n))
    html = path.read_text(encoding="utf-8")
    assert path == made.folder / "out" / "report.html"
    assert html.count("<article") == 3
    assert told[-1] == (3, 3)
    for fact in ("2 scenes, 10 frames", "toy: 19 classes, 2 views", "noon", "default, with units.kind=grid"):
        assert fact in html
    again = report_job(made.selection, made.folder / "scores", made.folder / "r.html", created="noon")
    assert again.read_text(encoding="utf-8") == html


def test_the_report_takes_drawing_settings_but_not_others(made):
    config = Config().updated({"report": {"picks": 1}, "select": {"budget": "77%"}})
    html = report_job(made.selection, None, made.folder / "r.html", config).read_text(encoding="utf-8")
    assert html.count("<article") == 1
    assert "77%" not in html


def test_streamed_divergence_equals_scoring_frame_by_frame(made):
    from lidal3d.jobs.export import read_queue

    queue = read_queue(made.selection)
    streamed = StreamedDivergence(queue, 50, made.store, CONFIG.interframe)
    for scene, frame in (("00", 0), ("01", 3)):
        scores = point_scores(made.scenes[scene], frame, made.store, CONFIG.interframe)
        want = np.where(scores.matches > 0, scores.divergence, np.nan)
        np.testing.assert_array_equal(streamed(made.scenes[scene], frame), want)


def test_a_damaged_manifest_is_named(made):
    (made.selection / "config.yaml").write_text("units: [1")
    with pytest.raises(DataError, match=r"config\.yaml: not lidal3d's settings"):
        manifest_config(made.selection)
    (made.selection / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"config\.yaml: no manifest there"):
        report_job(made.selection, None, made.folder / "r.html")


def test_settings_name_the_nearest_preset():
    assert settings_text(Config()) == "default"
    near_paper = Config.preset("paper").updated({"select": {"budget": "2%"}})
    assert settings_text(near_paper) == "paper, with select.budget=2%"


def test_facts_tell_the_time_of_the_drive(made):
    table = ScoreTable.read(made.folder / "scores" / "scores.parquet")
    facts = report_facts("d", made.scenes, table, None, Config(), "noon")
    assert facts["recorded"] == "0.8 s" or facts["recorded"].endswith("UTC")
    assert facts["extent"] == "2 scenes, 10 frames, 250 scored points"
    assert "model" not in facts


def test_the_classes_that_a_queue_asks_about_are_counted(made):
    found = queue_quality(made.selection, made.scenes, made.folder / "predictions", {("00", "000001")})
    truth = {(s.id, f.index): f.labels() for s in made.scenes.values() for f in s if (s.id, f.name) != ("00", "000001")}
    asked = np.concatenate(
        [truth["01", 3][members(3, 1)], truth["00", 0][members(0, 2)], truth["01", 3][members(3, 4)]]
    )
    everything = np.concatenate(list(truth.values()))
    classes = made.scenes["00"].label_map.classes
    for name, shares in found.shares.items():
        of_asked, of_all = ((labels == classes.index(name))[labels != 255].mean() for labels in (asked, everything))
        assert shares == pytest.approx((of_asked, of_all))
    assert found.points == len(everything)
    rows = {k: made.store.probabilities(k[0], f"{k[1]:06d}", len(v)).argmax(axis=1) for k, v in truth.items()}
    seen = np.concatenate([rows["01", 3][members(3, 1)], rows["00", 0][members(0, 2)], rows["01", 3][members(3, 4)]])
    assert found.picked_error == pytest.approx((seen != asked)[asked != 255].mean())
