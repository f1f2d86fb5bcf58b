# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The report: its numbers against brute-force counts, its drawing against pixels worked out by hand, its HTML."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lidal3d.config import Config
from lidal3d.export.queue import LabelQueue, label_queue
from lidal3d.predictions.store import PredictionStore
from lidal3d.report.birdseye import class_picture, crop_around, divergence_picture, region_in
from lidal3d.report.breakdown import class_breakdown, picked_rows, range_breakdown
from lidal3d.report.camera import best_view, camera_picture, crop_box
from lidal3d.report.colors import GROUND, ramp, readable, relative_luminance
from lidal3d.report.precision import pseudo_precision
from lidal3d.report.raster import Crop, hull, splat
from lidal3d.report.report import ReportInput, render_report
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.projection import project
from lidal3d.scene.scene import CameraImage, Scene
from lidal3d.scores.table import ScoreTable
from lidal3d.select.selection import Pick, Selection, UnitKey

COLORS = ((250, 40, 40), (75, 0, 75), (0, 200, 0))
CLASSES = LabelMap("toy", ("car", "ro<ad", "tree"), COLORS, {0: 255, 10: 0, 40: 1, 70: 2}, (10, 40, 70))
RAW = np.array([0, 10, 40, 70], dtype=np.uint32)
POINTS, FRAMES, UNITS = 240, 6, 8
LIDAR_TO_CAMERA = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
INTRINSICS = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
REASON = "cars <script>alert(1)</script> & more"
VOID = ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")


@dataclass(frozen=True)
class ToySource:
    """Points round the car, labels on the first frames, one camera that looks forward."""

    folder: Path
    labelled: int
    cameras: bool

    def points_path(self, index: int) -> Path:
        return self.folder / f"{index}.bin"

    def labels_path(self, index: int) -> Path | None:
        return self.folder / f"{index}.label" if index < self.labelled else None

    def read_points(self, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        return np.column_stack([rng.uniform(-60, 60, (POINTS, 2)), rng.normal(size=(POINTS, 2))]).astype(np.float32)

    def read_labels(self, index: int) -> np.ndarray | None:
        if index >= self.labelled:
            return None
        return RAW[np.random.default_rng(100 + index).integers(0, 4, POINTS)]

    def read_instances(self, index: int) -> None:
        return None

    def images(self, index: int) -> tuple[CameraImage, ...]:
        if not self.cameras:
            return ()
        path = self.folder / "cam.png"
        if not path.exists():
            Image.new("RGB", (64, 48), (90, 90, 90)).save(path)
        return (CameraImage("front<", path, index, INTRINSICS, LIDAR_TO_CAMERA, 64, 48),)


def toy_scene(folder: Path, frames: int = FRAMES, labelled: int = 2, cameras: bool = True) -> Scene:
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3] = np.arange(frames) * 1.5
    return Scene("s&1", "folder", folder, tuple(f"{i:02d}" for i in range(frames)), np.arange(frames) * 10**8, poses,
                 np.ones(frames, bool), CLASSES, ToySource(folder, labelled, cameras))  # fmt: skip


def units_of(frame: int) -> list[np.ndarray]:
    return list(np.array_split(np.random.default_rng(50 + frame).permutation(POINTS), UNITS))


def toy_table(scene: Scene) -> ScoreTable:
    rows = [(f, u, units_of(f)[u]) for f in range(len(scene)) for u in range(UNITS)]
    centers = [scene[f].points()[idx, :3].mean(axis=0) + scene.scene_SE3_lidar[f][:3, 3] for f, u, idx in rows]
    rng = np.random.default_rng(3)
    scores = {"divergence": rng.uniform(0, 3, len(rows)), "entropy": rng.uniform(0, 1, len(rows)),
              "coverage": rng.uniform(0, 1, len(rows))}  # fmt: skip
    scores["divergence"][::5] = np.nan
    frame, unit = (np.array([row[i] for row in rows], np.int32) for i in (0, 1))
    sizes = np.array([len(row[2]) for row in rows], np.int64)
    zeros = np.zeros(len(rows), np.int32)
    return ScoreTable(("s&1",), zeros, frame, unit, sizes, np.array(centers).reshape(-1, 3), scores, "grid")


def toy_pick(rank: int, frame: int, unit: int) -> Pick:
    other = UnitKey("s&1", frame, 7)
    return Pick(rank, UnitKey("s&1", frame, unit), f"{frame:02d}", 0, "grid", POINTS // UNITS, 30.0, (0.0, 0.0, 0.0),
                {"divergence": 1.0, "entropy": float("nan")}, REASON, (other,) * 6)  # fmt: skip


def toy_queue(picks: int = 7, frames: int = FRAMES) -> LabelQueue:
    keys = [(f, u) for u in range(UNITS) for f in range(frames)]
    asked = [toy_pick(rank + 1, *key) for rank, key in enumerate(keys[:picks])]
    assumed = [toy_pick(rank + 1, *key) for rank, key in enumerate(keys[picks : picks + 9])]
    rng = np.random.default_rng(8)
    points = [units_of(pick.key.frame)[pick.key.unit] for pick in assumed]
    labels = [rng.choice(np.array([0, 1, 2, 255], np.uint8), len(p)) for p in points]
    return label_queue(
        Selection(tuple(asked), "lidal", "points", 300, 210.0), [units_of(p.key.frame)[p.key.unit] for p in asked],
        Selection(tuple(assumed), "lidal pseudo", "points", 300, 270.0), points, labels,
    )  # fmt: skip


def toy_predictions(folder: Path, scene: Scene) -> PredictionStore:
    store = PredictionStore(folder / "predictions", CLASSES.classes, "net <1>")
    for frame in scene:
        rows = np.random.default_rng(200 + frame.index).dirichlet(np.ones(3), POINTS)
        store.write(scene.id, frame.name, rows.astype(np.float32))
    store.write_header()
    return store


def toy_divergence(scene: Scene, index: int) -> np.ndarray:
    value = np.random.default_rng(index).uniform(0, 2, POINTS)
    value[::4] = np.nan
    return value


def toy_input(folder: Path, **changes: object) -> ReportInput:
    scene = toy_scene(folder)
    given = ReportInput(toy_queue(), {scene.id: scene}, toy_table(scene), toy_predictions(folder, scene),
                        toy_divergence, Config(), {"drive": "a<b>", "created": "today"})  # fmt: skip
    return replace(given, **changes)


class Checker(HTMLParser):
    """Collects tags and refuses what is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag


def parse(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def cards_of(checker: Checker) -> list[dict[str, str | None]]:
    return [attrs for tag, attrs in checker.tags if tag == "article"]


def picture(uri: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))


# --- the page


def test_the_page_is_well_formed_and_loads_nothing(tmp_path):
    html = render_report(toy_input(tmp_path))
    checker = parse(html)
    addresses = [
        v for _, a in checker.tags for k, v in a.items() if k in ("src", "href", "xlink:href", "srcset", "data")
    ]
    assert addresses
    assert all(address.startswith("data:image/") for address in addresses)
    assert not re.search(r"https?:|url\(|@import|<link", html)
    assert len(cards_of(checker)) == 7


def test_text_from_outside_is_escaped(tmp_path):
    html = render_report(toy_input(tmp_path))
    assert "<script>alert" not in html
    assert "cars &lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html
    assert "ro&lt;ad" in html
    assert "s&amp;1" in html
    assert "a&lt;b&gt;" in html
    assert "front&lt;" in html


@pytest.mark.parametrize(("picks", "shown"), [(0, 0), (3, 3), (30, 4)])
def test_as_many_cards_as_picks_up_to_the_limit_in_order_of_rank(tmp_path, picks, shown):
    config = Config().updated({"report": {"picks": 4}})
    cards = cards_of(parse(render_report(toy_input(tmp_path, queue=toy_queue(picks), config=config))))
    assert [card["id"] for card in cards] == [f"pick-{rank + 1}" for rank in range(shown)]


def test_a_card_shows_divergence_this_and_three_neighbour_frames_and_the_camera(tmp_path):
    html = render_report(toy_input(tmp_path))
    card = html.split("<article")[1]
    assert re.findall(r"<figcaption><b>([^<]*)</b>", card) == [
        "Divergence", "This frame", "Frame +1", "Frame +3", "Frame +5", "Camera"]  # fmt: skip
    assert "6 near-duplicates" in card
    assert "and 2 more" in card


@pytest.mark.parametrize("missing", ["cameras", "labels", "predictions", "divergence", "pseudo"])
def test_it_works_without(tmp_path, missing):
    queue = toy_queue()
    scene = toy_scene(tmp_path, labelled=0 if missing == "labels" else 2, cameras=missing != "cameras")
    changes: dict[str, dict] = {
        "predictions": {"predictions": None, "divergence": None},
        "divergence": {"divergence": None},
        "pseudo": {"queue": replace(queue, pseudo_selection=None, assumed=())},
    }
    given = toy_input(tmp_path, **{"scenes": {scene.id: scene}, **changes.get(missing, {})})
    html = render_report(given)
    assert len(cards_of(parse(html))) == 7
    assert ("<b>Camera</b> front" in html) == (missing != "cameras")
    assert ("<b>This frame</b>" in html) == (missing != "predictions")
    assert ("pseudo-label precision" in html) == (missing not in ("labels", "pseudo"))


def test_a_drive_of_one_frame(tmp_path):
    scene = toy_scene(tmp_path, frames=1)
    given = toy_input(tmp_path, scenes={scene.id: scene}, table=toy_table(scene), queue=toy_queue(3, frames=1))
    html = render_report(given)
    assert len(cards_of(parse(html))) == 3
    assert "<b>Frame " not in html


def test_every_frame_is_scored_once_and_progress_is_told(tmp_path):
    asked, told = [], []

    def divergence(scene: Scene, index: int) -> np.ndarray:
        asked.append(index)
        return toy_divergence(scene, index)

    render_report(toy_input(tmp_path, queue=toy_queue(20), divergence=divergence), lambda *done: told.append(done))
    assert asked == sorted(set(asked)) == list(range(FRAMES))
    assert told == [(n, 20) for n in range(1, 21)]


# --- the numbers


def test_precision_equals_a_count_point_by_point(tmp_path):
    scene, queue = toy_scene(tmp_path), toy_queue()
    assumed, judged, correct = np.zeros(3, int), np.zeros(3, int), np.zeros(3, int)
    for unit in queue.assumed:
        for point, label in zip(unit.indices, unit.labels, strict=True):
            if label == 255:
                continue
            assumed[label] += 1
            if unit.pick.key.frame >= 2:
                continue
            true = CLASSES.raw_to_train[int(scene[unit.pick.key.frame].raw_labels()[point])]
            if true != 255:
                judged[label] += 1
                correct[label] += true == label
    got = pseudo_precision(queue, {scene.id: scene}, CLASSES)
    np.testing.assert_array_equal(got.assumed, assumed)
    np.testing.assert_array_equal(got.judged, judged)
    np.testing.assert_array_equal(got.correct, correct)
    assert got.overall == correct.sum() / judged.sum()
    assert got.of_class(1) == correct[1] / judged[1]
    assert 0 < got.labelled_frames < got.frames


def test_precision_matches_classes_by_name(tmp_path):
    scene, queue = toy_scene(tmp_path), toy_queue()
    swapped = replace(CLASSES, classes=("tree", "ro<ad", "car"))
    units = tuple(replace(u, labels=np.array([2, 1, 0, *[255] * 253], np.uint8)[u.labels]) for u in queue.assumed)
    got = pseudo_precision(replace(queue, assumed=units), {scene.id: scene}, swapped)
    want = pseudo_precision(queue, {scene.id: scene}, CLASSES)
    np.testing.assert_array_equal(got.correct, want.correct[::-1])
    np.testing.assert_array_equal(got.judged, want.judged[::-1])


def test_picked_rows_and_breakdowns_equal_counts(tmp_path):
    scene, queue = toy_scene(tmp_path), toy_queue()
    table, store = toy_table(scene), toy_predictions(tmp_path, scene)
    keys = {(u.pick.key.frame, u.pick.key.unit) for u in queue.asked}
    picked = np.array([(f, u) in keys for f, u in zip(table.frame, table.unit, strict=True)])
    np.testing.assert_array_equal(picked_rows(queue, table), picked)

    counts = np.zeros((2, 5))
    for row in range(len(table)):
        sensor = scene.world_SE3_lidar[table.frame[row]][:2, 3]
        distance = np.hypot(*(table.center_m[row, :2] - sensor))
        place = sum(distance >= edge for edge in (10, 20, 30, 50))
        counts[0, place] += table.points[row] * picked[row]
        counts[1, place] += table.points[row]
    got = range_breakdown(queue, table, {scene.id: scene})
    np.testing.assert_allclose([got.picked, got.drive], counts / counts.sum(axis=1, keepdims=True))

    own = np.zeros(3)
    for unit in queue.asked:
        for point in unit.indices:
            own[np.argmax(store.probabilities(scene.id, scene[unit.pick.key.frame].name)[point])] += 1
    shares = class_breakdown(queue, {scene.id: scene}, store)
    np.testing.assert_allclose(shares.picked, own / own.sum())
    assert shares.drive.sum() == pytest.approx(1)


# --- the pictures


def test_projection_of_points_worked_out_by_hand(tmp_path):
    image = toy_scene(tmp_path).source.images(0)[0]
    xyz = np.array([[10.0, 0, 0], [10, -2, 1], [-10, 0, 0], [10, 20, 0], [0.2, 0, 0]])
    pixels, _, seen = project(image, xyz)
    np.testing.assert_allclose(pixels[:2], [[32, 24], [32 + 50 * 2 / 10, 24 - 50 * 1 / 10]])
    np.testing.assert_array_equal(seen, [True, True, False, False, False])
    behind = replace(image, camera="rear", camera_SE3_lidar=LIDAR_TO_CAMERA @ np.diag([-1.0, -1, 1, 1]))
    everything = np.arange(5)
    view = best_view((behind, image), xyz, everything)
    assert view is not None
    assert view.image.camera == "front<"
    np.testing.assert_array_equal(view.seen, [True, True, False, False, False])
    assert best_view((behind, image), xyz, everything[2:3]).image.camera == "rear"
    assert best_view((behind, image), xyz, everything[3:4]) is None
    assert best_view((), xyz, everything) is None


def test_a_camera_sees_nothing_of_a_unit_behind_a_wall(tmp_path):
    image = toy_scene(tmp_path).source.images(0)[0]
    y, z = np.meshgrid(np.arange(-4, 4, 0.1), np.arange(-3, 3, 0.1))
    wall = np.stack([np.full(y.size, 8.0), y.ravel(), z.ravel()], axis=1)
    unit = np.array([[15.0, 0.1 * i, 0] for i in range(9)] + [[6.0, 0, 0]])
    sweep, indices = np.concatenate([wall, unit]), len(wall) + np.arange(len(unit))
    seen = best_view((image,), sweep, indices).seen
    np.testing.assert_array_equal(seen, [False] * 9 + [True])
    assert best_view((image,), sweep, indices[:9]) is None
    assert best_view((image,), unit[:9], np.arange(9)).seen.all()


def test_camera_dots_lie_where_the_points_project(tmp_path):
    image = toy_scene(tmp_path).source.images(0)[0]
    view = best_view((image,), np.array([[10.0, -2, 1]]), np.array([0]))
    uri, size = camera_picture(view, np.array([[255, 255, 0]], np.uint8))
    drawn = picture(uri)
    assert size == (drawn.shape[1], drawn.shape[0])
    yellow = (drawn[..., 0] > 180) & (drawn[..., 1] > 180) & (drawn[..., 2] < 120)
    rows, columns = np.nonzero(yellow)
    assert drawn.shape[0] == drawn.shape[1]
    scale = drawn.shape[1] / 48  # the largest square in 64×48, as far right as it goes: columns 16 to 63
    assert abs(columns.mean() - (42 - 16) * scale) < 4
    assert abs(rows.mean() - 19 * scale) < 4


def test_crop_box_lies_in_the_picture():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pixels = rng.uniform([0, 0], [1200, 370], (1, 2)) + rng.normal(size=(30, 2)) * rng.uniform(1, 300)
        left, top, right, bottom = crop_box(pixels, 1241, 376)
        assert right - left == bottom - top
        assert 0 <= left < right <= 1241
        assert 0 <= top < bottom <= 376


def test_forward_is_up_and_left_is_left():
    crop = Crop((10.0, 5.0), 20.0, 200)
    np.testing.assert_allclose(crop.to_pixels(np.array([[10.0, 5, 0], [20, 5, 0], [10, 15, 0]])),
                               [[100, 100], [100, 0], [0, 100]])  # fmt: skip
    np.testing.assert_array_equal(crop.contains(np.array([[19.9, 5, 9], [20.1, 5, 0], [10, -5.1, 0]])), [1, 0, 0])


def test_splat_equals_a_plain_loop():
    rng = np.random.default_rng(0)
    at, places = rng.uniform(-3, 23, (200, 2)), rng.integers(1, 9, 200)
    for size in (1, 2, 3, 4):
        canvas, want = np.zeros((20, 22), np.uint8), np.zeros((20, 22), np.uint8)
        splat(canvas, at, places, size)
        for (column, row), place in zip(at, places, strict=True):
            left, top = int(np.floor(column - (size - 1) / 2)), int(np.floor(row - (size - 1) / 2))
            for y in range(top, top + size):
                for x in range(left, left + size):
                    if 0 <= y < 20 and 0 <= x < 22:
                        want[y, x] = place
        np.testing.assert_array_equal(canvas, want)


def test_divergence_picture_colours_the_region_and_greys_the_rest():
    xyz = np.array([[2.0, 2, 0], [-2, -2, 0], [2, -2, 0], [-2, 2, 0]])
    is_region = np.array([True, True, True, False])
    drawn = picture(divergence_picture(Crop((0, 0), 8, 80), xyz, is_region, np.array([0.0, 5, np.nan, 1]), 1.0))
    np.testing.assert_array_equal(drawn[20, 20], ramp(96)[0])
    np.testing.assert_array_equal(drawn[60, 60], ramp(96)[-1])
    np.testing.assert_array_equal(drawn[20, 60], [222, 226, 234])
    assert np.ptp(drawn[60, 20].astype(int)) < 30
    assert tuple(drawn[40, 40]) == GROUND


def test_class_picture_fades_what_is_outside_the_region():
    xyz = np.array([[2.0, 2, 0], [-2, -2, 0]])
    drawn = picture(class_picture(Crop((0, 0), 8, 80), xyz, np.array([True, False]), np.array([0, 0]), COLORS))
    assert tuple(drawn[20, 20]) == COLORS[0]
    assert 20 < drawn[60, 60].max() < 0.6 * drawn[20, 20].max()


def test_region_in_another_sweep_is_what_lies_within_a_voxel_of_it():
    rng = np.random.default_rng(4)
    region, other = rng.uniform(-2, 2, (40, 3)), rng.uniform(-4, 4, (500, 3))
    voxel = {tuple(v) for v in np.floor(region / 0.5).astype(int)}
    want = [any(max(abs(a - b) for a, b in zip(v, w, strict=True)) <= 1 for w in voxel)
            for v in np.floor(other / 0.5).astype(int)]  # fmt: skip
    np.testing.assert_array_equal(region_in(other, region), want)
    assert not region_in(other, region[:0]).any()


def test_hull_holds_every_point_and_is_convex():
    points = np.random.default_rng(2).normal(size=(60, 2)) * 40
    corners = hull(points)
    edges = np.roll(corners, -1, axis=0) - corners
    for point in np.round(points):
        away = point - corners
        assert (edges[:, 0] * away[:, 1] - edges[:, 1] * away[:, 0] >= 0).all()
    assert len(hull(points[:2])) == 2


def test_a_crop_grows_with_its_region():
    small, large = np.random.default_rng(1).uniform(-1, 1, (99, 3)), np.random.default_rng(1).uniform(-30, 30, (99, 3))
    assert crop_around(small, 14).edge_m == 14
    assert crop_around(large, 14).edge_m > 55
    assert crop_around(small[:0], 14).edge_m == 14


def test_colours_rise_in_lightness_and_show_on_the_ground():
    lightness = relative_luminance(ramp(64))
    assert (np.diff(lightness) > -0.002).all()
    assert (relative_luminance(readable([(0, 0, 0), (75, 0, 75), (255, 255, 0)])) >= 0.139).all()
    assert tuple(readable([(255, 255, 0)])[0]) == (255, 255, 0)
