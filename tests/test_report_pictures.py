# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a camera's pictures: its words, its cards, and its drawing against pixels worked out by hand."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from picture_drives import HEIGHT, WIDTH, Pictures
from PIL import Image

from lidal3d.errors import DataError
from lidal3d.jobs.export import read_queue
from lidal3d.jobs.report import report_job
from lidal3d.predictions import PredictionStore
from lidal3d.report.camera import cut
from lidal3d.report.colors import ramp
from lidal3d.report.pictures import (
    KEPT_OUTSIDE,
    KEPT_UNDER_POINTS,
    PictureDrawer,
    class_picture,
    depth_colors,
    depth_picture,
    part_picture,
)
from lidal3d.scene.projection import visible_pixels
from lidal3d.scene.scene import CameraImage

COLORS = np.array([[250, 0, 0], [0, 250, 0], [9, 9, 9]], np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Pictures:  # type: ignore[no-untyped-def]
    return Pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def grey(tmp_path) -> CameraImage:  # type: ignore[no-untyped-def]
    path = tmp_path / "grey.png"
    Image.new("RGB", (80, 40), (200, 200, 200)).save(path)
    return CameraImage("front", path, 0, np.eye(3), np.eye(4), 80, 40)


class Words(HTMLParser):
    """The page's visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.text.append(data)


def words_of(html: str) -> str:
    reader = Words()
    reader.feed(html)
    return " ".join(reader.text)


def test_the_page_speaks_of_pixels_and_shows_no_divergence(made):
    html = report_job(made.selection, None, made.folder / "report.html", created="noon").read_text(encoding="utf-8")
    words = words_of(html)
    queue = read_queue(made.selection)
    assert html.count("<article") == len(queue.asked)
    for said in (
        "pixels to label",
        "scored pixels",
        "pixels, by how far",
        "softmax_entropy",
        "depth ≤",
        "every 7th pixel",
    ):
        assert said in words
    for not_said in ("divergence", "coverage", "Bird's-eye", "points to label", "when the car moves"):
        assert not_said not in words
    for title in ("Asked", "Predicted", "LiDAR"):
        assert html.count(f"<b>{title}</b>") == len(queue.asked)
    again = report_job(made.selection, None, made.folder / "again.html", created="noon")
    assert again.read_text(encoding="utf-8") == html


def test_a_card_tells_what_is_predicted_and_how_far_it_is(made):
    assert made.scene.label_map is not None
    drawer = PictureDrawer({made.scene.id: made.scene}, made.scene.label_map, made.store)
    for unit in read_queue(made.selection).asked:
        card = drawer.card(unit)
        frame = made.scene[unit.pick.key.frame]
        said = made.store.probabilities(made.scene.id, frame.name)[unit.indices].argmax(axis=1)
        assert dict(card.predicted) == {int(c): float((said == c).mean()) for c in np.unique(said)}
        assert card.elements == "pixels"
        where = frame.positions(frame.points())[unit.indices].mean(axis=0)
        sensor = made.scene.scene_SE3_lidar[frame.index, :3, 3]
        assert card.range_m == pytest.approx(np.hypot(*(where - sensor)[:2]), abs=0.1)
        (image,) = frame.images()
        seen = visible_pixels(image, frame.sweep().points()[:, :3])[2].sum()
        assert card.panels[-1].caption.startswith(f"{seen:,} points")


def test_outlines_lie_round_the_unit_in_the_whole_picture(made):
    assert made.scene.label_map is not None
    unit = read_queue(made.selection).asked[0]
    panels = PictureDrawer({made.scene.id: made.scene}, made.scene.label_map, None).card(unit).panels
    assert [panel.title for panel in panels] == ["Asked", "LiDAR"]
    shown, path = (re.search(pattern, panels[-1].html) for pattern in (r'viewBox="0 0 (\d+)', r' d="([^"]+)"'))
    assert shown is not None
    assert path is not None
    corners = np.array(re.findall(r"([\d.]+) ([\d.]+)", path[1]), float) * WIDTH / int(shown[1])
    row, column = np.divmod(unit.indices, WIDTH // 2)
    want = [2 * column.min(), 2 * row.min(), 2 * column.max() + 2, 2 * row.max() + 2]
    np.testing.assert_allclose([*corners.min(axis=0), *corners.max(axis=0)], want, atol=0.02)


def test_whole_pictures_have_no_outline_and_wide_panels(made, tmp_path):
    whole = Pictures(tmp_path, "image", made.drive)
    html = report_job(whole.selection, None, tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'class="part"' not in html
    assert html.count("shot wide3") == 2 * html.count("<article") > 0
    assert "<b>Asked</b>" not in html


def test_what_is_not_asked_is_dark(grey):
    mask = np.zeros((20, 40), bool)
    mask[:10, :20] = True
    drawn = part_picture(grey, (0, 0, 80, 40), mask)
    height, width = drawn.shape[:2]
    assert (height, width) == (210, 420)
    assert (drawn[: height // 2, : width // 2] == 200).all()
    assert (drawn[height // 2 :] == int(200 * KEPT_OUTSIDE)).all()
    right = part_picture(grey, (40, 0, 80, 40), mask)
    assert (right == int(200 * KEPT_OUTSIDE)).all()


def test_classes_are_drawn_where_their_pixels_are(grey):
    said = np.zeros((20, 40), int)
    said[:, 20:] = 1
    mask = np.ones((20, 40), bool)
    drawn = class_picture(grey, (20, 0, 60, 40), mask, said, COLORS).astype(int)
    half = drawn.shape[1] // 2
    assert (drawn[:, :half, 0] > drawn[:, :half, 1] + 50).all()
    assert (drawn[:, half:, 1] > drawn[:, half:, 0] + 50).all()
    faint = class_picture(grey, (20, 0, 60, 40), ~mask, said, COLORS).astype(int)
    assert (faint.max(axis=2) < drawn.max(axis=2)).all()


def test_depth_is_drawn_near_over_far_and_bright_over_dark():
    shown = np.full((20, 30, 3), 100, np.uint8)
    depth_m = np.array([5.0, 40.0, 40.0])
    drawn = depth_picture(shown, np.array([[10.5, 5.5], [10.5, 5.5], [20.5, 15.5]]), depth_m)
    near, _, far = depth_colors(depth_m)
    np.testing.assert_array_equal(drawn[5, 10], near)
    np.testing.assert_array_equal(drawn[15, 20], far)
    np.testing.assert_array_equal(drawn[0, 0], [int(100 * KEPT_UNDER_POINTS)] * 3)
    np.testing.assert_array_equal(depth_colors(np.array([0.6, 500])), ramp(64)[[-1, 0]])


def test_a_damaged_picture_is_named(made, grey):
    grey.path.write_bytes(grey.path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"grey\.png: not a whole image"):
        cut(grey, (0, 0, 80, 40), 10)


def test_predictions_of_another_width_are_refused(made, tmp_path):
    other = PredictionStore(tmp_path / "predictions", made.classes, "toy", 1)
    for frame in made.scene:
        other.write(made.scene.id, frame.name, np.full((7, len(made.classes)), 1 / len(made.classes), np.float32))
    other.write_header()
    assert made.scene.label_map is not None
    drawer = PictureDrawer({made.scene.id: made.scene}, made.scene.label_map, other)
    with pytest.raises(DataError, match=rf"{HEIGHT * WIDTH // 4}"):
        drawer.card(read_queue(made.selection).asked[0])


def test_the_report_of_another_drive_names_the_scene(made, tmp_path):
    with pytest.raises(DataError, match=r"names scene '00\.image_2'"):
        report_job(made.selection, None, tmp_path / "r.html", drive=Path(made.drive))
