# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Outlines of superpixels, and the queue for Label Studio: filled in again, they are the selection."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from command_line import CommandLine
from miniature import make_scenes, write_semantickitti
from picture_drives import HEIGHT, WIDTH, Pictures
from PIL import Image

from lidal3d.errors import DataError, UsageError
from lidal3d.export.label_studio import export_label_studio
from lidal3d.export.options import ExportOptions
from lidal3d.export.outlines import at_centres, borders, mask_of, outlines
from lidal3d.jobs.export import export_job, read_queue
from lidal3d.scene.pixels import picture_shape


def filled(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """The oracle: a pixel is inside where a ray from its middle to the left crosses the polygons an odd number of times."""
    inside = np.zeros((height, width), bool)
    for polygon in polygons:
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            for row in range(height):
                if min(y0, y1) <= row + 0.5 < max(y0, y1):
                    assert x0 == x1
                    inside[row] ^= np.arange(width) + 0.5 > x0
    return inside


@pytest.mark.parametrize("seed", range(12))
def test_a_filled_outline_is_the_mask_whatever_its_shape(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 16), rng.integers(1, 16))) < rng.choice([0.3, 0.6, 0.85])
    polygons = outlines(mask)
    np.testing.assert_array_equal(filled(polygons, *mask.shape), mask)
    np.testing.assert_array_equal(filled(borders(mask), *mask.shape), mask)
    from scipy.ndimage import label

    assert len(polygons) == label(mask)[1]


def test_outlines_worked_out_by_hand():
    ring = np.ones((3, 3), bool)
    assert outlines(ring)[0].tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    ring[1, 1] = False
    assert outlines(ring)[0].tolist() == [
        [0, 0], [3, 0], [3, 3], [0, 3], [0, 1], [1, 1], [1, 2], [2, 2], [2, 1], [0, 1],
    ]  # fmt: skip
    assert len(outlines(np.eye(3, dtype=bool))) == 3
    assert outlines(np.zeros((2, 2), bool)) == []


def test_a_pixel_of_the_whole_picture_has_the_value_of_the_reduced_one_at_its_middle():
    reduced = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(at_centres(reduced, 6, 4), np.kron(reduced, np.ones((2, 2), int)))
    odd = at_centres(reduced, 7, 5)
    for row in range(5):
        for column in range(7):
            assert odd[row, column] == reduced[int((row + 0.5) * 2 / 5), int((column + 0.5) * 3 / 7)]
    np.testing.assert_array_equal(mask_of(np.array([0, 5]), 2, 3), [[1, 0, 0], [0, 0, 1]])


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Pictures:  # type: ignore[no-untyped-def]
    return Pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def exported(made: Pictures) -> Path:
    out = made.folder / "to_label"
    export_job(made.selection, out, "label_studio", options=ExportOptions(url_prefix="s3://b/"))
    return out


def test_label_studio_polygons_are_the_asked_pixels(made, exported):
    tasks = json.loads((exported / "tasks.json").read_text())
    queue = read_queue(made.selection)
    height, width = picture_shape(made.scene[0].points())
    parts = {part["id"]: part for task in tasks for part in task["predictions"][0]["result"]}
    assert len(queue.asked) == 4
    for unit in queue.asked:
        part = parts[f"rank{unit.pick.rank}"]
        assert (part["original_width"], part["original_height"]) == (WIDTH, HEIGHT)
        assert part["value"]["polygonlabels"] == ["to_label"]
        corners = np.array(part["value"]["points"]) / 100 * [width, height]
        corners = corners.round(3)
        np.testing.assert_array_equal(filled([corners], height, width), mask_of(unit.indices, height, width))


def test_label_studio_orders_pictures_by_rank(made, exported):
    tasks = json.loads((exported / "tasks.json").read_text())
    queue = read_queue(made.selection)
    want = list(dict.fromkeys(unit.pick.frame_name for unit in queue.asked))
    assert [task["data"]["frame_name"] for task in tasks] == want
    scores = [task["predictions"][0]["score"] for task in tasks]
    assert scores[0] == 0
    assert scores == sorted(set(scores))
    assert max(scores) < 1
    assert sum(len(task["predictions"][0]["result"]) for task in tasks) == len(queue.asked)


def test_label_studio_pictures_and_masks_are_those_that_were_taken(made, exported):
    queue = read_queue(made.selection)
    for task in json.loads((exported / "tasks.json").read_text()):
        assert task["data"]["image"].startswith("s3://b/images/00.image_2_")
        frame = made.scene[task["data"]["frame"]]
        picture = exported / task["data"]["image"].removeprefix("s3://b/")
        assert picture.read_bytes() == frame.images()[0].path.read_bytes()
        mask = np.asarray(Image.open(exported / "masks" / f"{picture.stem}.png"))
        assert mask.shape == (HEIGHT, WIDTH)
        want = np.full((HEIGHT, WIDTH), 255)
        for unit in queue.asked:
            if unit.pick.frame_name == frame.name:
                for index in unit.indices:
                    row, column = divmod(int(index), WIDTH // 2)
                    want[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 0
        np.testing.assert_array_equal(mask, want)


def test_label_studio_interface_has_every_class_and_the_fields_of_a_task(made, exported):
    view = ElementTree.parse(exported / "label_config.xml").getroot()
    names = [label.get("value") for label in view.find("PolygonLabels").iter("Label")]
    assert names == ["to_label", *made.classes]
    for task in json.loads((exported / "tasks.json").read_text()):
        fields = {value[1:] for node in view.iter() for value in node.attrib.values() if value.startswith("$")}
        assert fields <= set(task["data"])
    assert "s3://b/" in (exported / "README.txt").read_text()


def test_what_the_model_assumed_is_written_as_train_ids(made, tmp_path):
    queue = read_queue(made.selection)
    first = queue.asked[0]
    labels = (np.arange(len(first.indices)) % 5).astype(np.uint8)
    assumed = replace(queue, asked=queue.asked[1:], assumed=(replace(first, labels=labels),))
    export_label_studio(assumed, {made.scene.id: made.scene}, tmp_path, ExportOptions())
    (path,) = (tmp_path / "assumed").iterdir()
    want = np.full(HEIGHT * WIDTH // 4, 255)
    want[first.indices] = labels
    reduced = want.reshape(HEIGHT // 2, WIDTH // 2)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.kron(reduced, np.ones((2, 2), int)))
    assert "assumed/" in (tmp_path / "README.txt").read_text()


def test_a_whole_picture_is_its_rectangle(made, tmp_path):
    whole = Pictures(tmp_path, "image", made.drive)
    export_job(whole.selection, tmp_path / "out", "label_studio", options=ExportOptions(cameras=False))
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    assert [task["predictions"][0]["result"][0]["value"]["points"] for task in tasks] == [
        [[0, 0], [100, 0], [100, 100], [0, 100]]
    ] * len(tasks)
    assert not (tmp_path / "out/images").exists()


@pytest.mark.parametrize("format", ["point_labeler", "segments_ai", "mmdet3d"])
def test_tools_for_sweeps_refuse_pictures(made, tmp_path, format):
    message = f"{format}: scene 00.image_2 has pictures, which it cannot show; take label_studio"
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        export_job(made.selection, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_label_studio_refuses_sweeps(made, tmp_path):
    write_semantickitti(tmp_path / "drive", make_scenes(1, ["00"], [10, 40], ["image_2"], frames=2))
    message = r"label_studio: scene 00 has sweeps, .*; take point_labeler or segments_ai or mmdet3d$"
    with pytest.raises(UsageError, match=message):
        export_job(made.selection, tmp_path / "out", "label_studio", drive=tmp_path / "drive")


def test_a_selection_of_other_pictures_is_refused(made, tmp_path):
    with pytest.raises(UsageError, match=r"@image_2:16: pictures of width 16 were scored at 50; give …@CAMERA:50"):
        export_job(made.selection, tmp_path / "out", "label_studio", drive=Path(f"{made.drive}@image_2:16"))
    queue = read_queue(made.selection)
    outside = replace(queue, asked=tuple(replace(unit, indices=unit.indices + 700) for unit in queue.asked))
    with pytest.raises(DataError, match=r"image_2/00000\d\.png: unit \d+ names pixel \d+, the picture has 800"):
        export_label_studio(outside, {made.scene.id: made.scene}, tmp_path / "out", ExportOptions())


def test_the_commands_speak_of_pixels_and_lead_to_label_studio(made, tmp_path, capsys):
    lidal3d = CommandLine(capsys)
    queue, out = tmp_path / "queue", tmp_path / "to_label"
    said = lidal3d.fine("select", made.folder / "scores", "--strategy", "entropy", "--out", queue)
    assert re.search(r"to label +4 superpixels, [\d,]+ pixels in", said)
    assert f"lidal3d export {queue} --format label_studio" in said
    lidal3d.fine("export", queue, "--format", "label_studio", "--out", out)
    assert (out / "tasks.json").exists()
    assert "take label_studio" in lidal3d.fault("export", queue, "-f", "mmdet3d", "-o", tmp_path / "no", code=2)
    lidal3d.fine("report", queue, "--out", tmp_path / "report.html")
    wrong = lidal3d.fault("ingest", queue, out, "--ledger", tmp_path / "l.jsonl", "--out", tmp_path / "labels")
    assert "tasks.json: tasks without annotations, as they were imported; export from Label Studio again" in wrong
