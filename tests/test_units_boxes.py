# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Points in boxes against a loop, and the units of a score table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lidal3d.errors import DataError
from lidal3d.scores.table import ScoreTable
from lidal3d.select.boxes import BoxUnits
from lidal3d.units.base import partition_at
from lidal3d.units.boxes import corners_of, points_in_boxes
from lidal3d.units.grid import GridCells


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    place = rng.uniform([-6, -6, -2], [6, 6, 2], (count, 3))
    return np.column_stack([place, rng.uniform(0.3, 5, (count, 3)), rng.uniform(-7, 7, count)]).astype(np.float32)


def plain(points: np.ndarray, boxes: np.ndarray, score: np.ndarray) -> list[int]:
    """The rule, point by point, with SciPy's rotations."""
    result = []
    for point in points.astype(np.float64):
        holders = []
        for i, box in enumerate(boxes.astype(np.float64)):
            local = Rotation.from_euler("z", box[6]).inv().apply(point[:3] - box[:3])
            if (np.abs(local) <= box[3:6] / 2).all():
                holders.append((-score[i], i))
        result.append(min(holders)[1] if holders else -1)
    return result


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 12))
def test_every_point_is_in_the_box_the_loop_says(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.uniform([-8, -8, -4, 0], [8, 8, 4, 1], (150, 4)).astype(np.float32)
    boxes = random_boxes(rng, count)
    score = rng.choice([0.25, 0.5, 0.75], count)  # ties on purpose
    unit = points_in_boxes(points, boxes, score)
    assert unit.dtype == np.int32
    assert unit.tolist() == plain(points, boxes, score)


def test_faces_and_edges_belong_to_the_box():
    box = np.array([[1, 2, 3, 4, 2, 6, 0]], np.float32)
    on = np.array(
        [[3, 2, 3], [-1, 2, 3], [1, 3, 3], [1, 1, 3], [1, 2, 6], [1, 2, 0], [3, 3, 6], [-1, 1, 0]], np.float64
    )
    assert points_in_boxes(on, box, np.ones(1)).tolist() == [0] * 8
    away = on + np.sign(on - box[0, :3]) * 1e-9
    assert points_in_boxes(away, box, np.ones(1)).tolist() == [-1] * 8


def test_a_point_in_two_boxes_goes_to_the_higher_score_then_the_lower_id():
    boxes = np.tile(np.array([[0, 0, 0, 2, 2, 2, 0.3]], np.float32), (3, 1))
    inside = np.zeros((1, 3))
    assert points_in_boxes(inside, boxes, np.array([0.2, 0.9, 0.5])).tolist() == [1]
    assert points_in_boxes(inside, boxes, np.array([0.2, 0.9, 0.9])).tolist() == [1]
    assert points_in_boxes(inside, boxes, np.array([0.9, 0.9, 0.9])).tolist() == [0]


def test_no_box_no_point_and_bad_points():
    none = np.empty((0, 7), np.float32)
    assert points_in_boxes(np.zeros((3, 3)), none, np.empty(0)).tolist() == [-1, -1, -1]
    assert (
        points_in_boxes(np.empty((0, 4), np.float32), random_boxes(np.random.default_rng(0), 2), np.ones(2)).size == 0
    )
    with pytest.raises(DataError, match="1 of 2 points"):
        points_in_boxes(np.array([[0.0, 0, 0], [np.nan, 0, 0]]), none, np.empty(0))


def test_corners_are_on_the_border():
    for box in random_boxes(np.random.default_rng(3), 5):
        corners = corners_of(box)
        assert corners.shape == (8, 3)
        larger, smaller = box.copy(), box.copy()
        larger[3:6] *= 1.001
        smaller[3:6] *= 0.999
        assert points_in_boxes(corners, larger[None], np.ones(1)).tolist() == [0] * 8
        assert points_in_boxes(corners, smaller[None], np.ones(1)).tolist() == [-1] * 8
        np.testing.assert_allclose(corners.mean(axis=0), box[:3], atol=1e-6)


def table_of(boxes: np.ndarray, score: np.ndarray, frame: list[int], unit: list[int]) -> ScoreTable:
    rows = len(boxes)
    return ScoreTable(("00",), np.zeros(rows, np.int32), np.array(frame, np.int32), np.array(unit, np.int32),
                      np.ones(rows, np.int64), np.zeros((rows, 3)), {"objectness": score}, "box", {}, boxes)  # fmt: skip


def test_units_of_a_table_are_those_that_were_scored():
    rng = np.random.default_rng(5)
    boxes, score = random_boxes(rng, 5), rng.random(5)
    table = table_of(boxes, score, [2, 2, 2, 7, 7], [0, 1, 2, 0, 1])
    units = BoxUnits.of_table(table.take(rng.permutation(5)))
    points = rng.uniform(-8, 8, (200, 4)).astype(np.float32)
    np.testing.assert_array_equal(units.at("00", 2)(points), points_in_boxes(points, boxes[:3], score[:3]))
    np.testing.assert_array_equal(partition_at(units, "00", 7)(points), points_in_boxes(points, boxes[3:], score[3:]))
    assert (units.at("00", 3)(points) == -1).all()
    assert (units.at("01", 2)(points) == -1).all()
    grid = GridCells()
    assert partition_at(grid, "00", 2) is grid


def test_a_table_without_all_boxes_of_a_frame_is_refused():
    boxes = random_boxes(np.random.default_rng(5), 2)
    with pytest.raises(DataError, match="2 rows of scene 00 frame 2 are not all its boxes"):
        BoxUnits.of_table(table_of(boxes, np.ones(2), [2, 2], [0, 2]))


def test_a_table_with_boxes_survives_the_disk(tmp_path):
    table = table_of(random_boxes(np.random.default_rng(5), 2), np.ones(2), [2, 3], [0, 0])
    for name in ("t.parquet", "t.arrow"):
        table.write(tmp_path / name)
        again = ScoreTable.read(tmp_path / name)
        assert again.boxes.dtype == np.float32
        np.testing.assert_array_equal(again.boxes, table.boxes)
        assert again.kind == "box"
    np.testing.assert_array_equal(table.take(np.array([1])).boxes, table.boxes[1:])
    with pytest.raises(DataError, match="holds grid units, no boxes"):
        _ = ScoreTable(("00",), *[np.zeros(1, np.int32)] * 3, np.ones(1), np.zeros((1, 3)), {}, "grid").box_rows
