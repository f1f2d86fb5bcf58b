# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The boxes format: what anyone's detector writes opens, and what is none is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from lidal3d.errors import DataError
from lidal3d.predictions.boxes import BoxStore

CLASSES = ["Car", "Pedestrian"]
BOXES = np.array([[10, 2, -1, 4, 2, 1.5, 0.3], [5, -3, -1, 0.6, 0.5, 1.8, 3.0]], np.float32)
SCORES = np.array([[0.9, 0.05], [0.1, 0.4]], np.float32)


def write(folder: Path, header: dict | None = None, **arrays: np.ndarray) -> BoxStore:
    """A folder as another program writes it: without lidal3d."""
    (folder / "boxes" / "00").mkdir(parents=True, exist_ok=True)
    given = {"boxes": BOXES, "scores": SCORES, **arrays}
    np.savez(folder / "boxes" / "00" / "000007.npz", **{name: a for name, a in given.items() if a is not None})
    (folder / "boxes.yaml").write_text(
        yaml.safe_dump({"format": 1, "classes": CLASSES, "model": "pp", **(header or {})})
    )
    return BoxStore.open(folder)


def test_what_another_program_wrote_is_read(tmp_path):
    store = write(tmp_path, {"checkpoint": "x.pth"}, features=np.ones((2, 3), np.float32))
    assert (store.classes, store.model, store.view_m) == (("Car", "Pedestrian"), "pp", None)
    found = store.read("00", "000007")
    np.testing.assert_array_equal(found.boxes, BOXES)
    np.testing.assert_array_equal(found.scores, SCORES)
    assert found.features.shape == (2, 3)
    assert found.objectness.tolist() == [np.float64(np.float32(0.9)), np.float64(np.float32(0.4))]
    assert write(tmp_path, {"view_m": [0, -40, 70.4, 40]}).view_m == (0.0, -40.0, 70.4, 40.0)


def test_written_boxes_come_back_and_equal_boxes_are_equal_bytes(tmp_path):
    store = BoxStore(tmp_path / "a", ("Car", "Pedestrian"), "pp", (0.0, -40.0, 70.0, 40.0))
    store.write("00", "000000", np.empty((0, 7)), np.empty((0, 2)))
    store.write("00", "000001", BOXES, SCORES, np.zeros((2, 4)))
    store.write_header(threshold=0.1)
    again = BoxStore.open(tmp_path / "a")
    assert again == store
    assert len(again.read("00", "000000")) == 0
    assert again.read("00", "000000").objectness.shape == (0,)
    np.testing.assert_array_equal(again.read("00", "000001").boxes, BOXES)
    assert yaml.safe_load((tmp_path / "a" / "boxes.yaml").read_text())["threshold"] == 0.1
    other = BoxStore(tmp_path / "b", store.classes)
    other.write("00", "000001", BOXES, SCORES, np.zeros((2, 4)))
    assert other.path("00", "000001").read_bytes() == store.path("00", "000001").read_bytes()
    with pytest.raises(DataError, match="outside 0"):
        store.write("00", "000002", BOXES, SCORES + 1)
    assert not store.path("00", "000002").exists()


NAN, WIDE = BOXES.copy(), np.hstack([SCORES, SCORES])
NAN[1, 6] = np.nan
FLAT, INSIDE_OUT = BOXES.copy(), BOXES.copy()
FLAT[0, 5], INSIDE_OUT[1, 3] = 0, -2


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"boxes": NAN}, r"1 of 2 boxes have boxes that are NaN or infinite \(box 1: "),
        ({"scores": np.full((2, 2), np.inf, np.float32)}, "2 of 2 boxes have scores that are NaN or infinite"),
        ({"boxes": BOXES[:, :6]}, r"boxes of shape \(2, 6\), expected \(B, 7\)"),
        ({"boxes": BOXES[0]}, r"boxes are float32 of shape \(7,\), expected float32 with 2 axes"),
        ({"boxes": BOXES.astype(np.float64)}, "boxes are float64"),
        ({"boxes": BOXES[:1]}, "2 rows of scores for 1 boxes"),
        ({"features": np.ones((3, 4), np.float32)}, "3 rows of features for 2 boxes"),
        ({"scores": WIDE}, r"4 score columns, but boxes\.yaml names 2 classes"),
        ({"scores": SCORES * 3}, r"2 of 2 boxes have scores outside 0 … 1; write probabilities \(box 0: 2\.7, 0\.15\)"),
        ({"scores": -SCORES}, "2 of 2 boxes have scores outside 0"),
        ({"boxes": FLAT}, r"1 of 2 boxes have a size that is not above 0 m \(box 0: 4, 2, 0\)"),
        ({"boxes": INSIDE_OUT}, r"1 of 2 boxes have a size that is not above 0 m \(box 1: -2, 0\.5, 1\.8\)"),
        ({"scores": None}, "holds boxes, but no 'scores'"),
        ({"boxes": np.array([[object()] * 7] * 2)}, "not a whole .npz of arrays"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(tmp_path, arrays, says):
    store = write(tmp_path, **arrays)
    with pytest.raises(DataError, match=says) as caught:
        store.read("00", "000007")
    assert str(store.path("00", "000007")) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"format": 2}, "'format: 2', this version of lidal3d reads format 1"),
        ({"classes": []}, "needs 'classes:'"),
        ({"classes": "Car"}, "needs 'classes:'"),
        ({"classes": ["Car", "Car"]}, "2 classes, but only 1 different names"),
        ({"view_m": [0, 1]}, "is not"),
        ({"view_m": [5, 0, 1, 1]}, r"is not \[x_min, y_min, x_max, y_max\]"),
    ],
)
def test_bad_headers_are_refused_in_one_line(tmp_path, header, says):
    with pytest.raises(DataError, match=says) as caught:
        write(tmp_path, header)
    assert "boxes.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_cut_files(tmp_path):
    with pytest.raises(DataError, match=r"boxes\.yaml: no boxes there"):
        BoxStore.open(tmp_path)
    store = write(tmp_path)
    store.refuse_missing("00", ["000007"])
    with pytest.raises(DataError, match=r"000006\.npz: missing; 1 of 3 frames of scene 00 have a file"):
        store.refuse_missing("00", ["000006", "000007", "000008"])
    with pytest.raises(DataError, match=r"000006\.npz: missing; every frame needs a file"):
        store.read("00", "000006")
    path = store.path("00", "000007")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"000007\.npz: not a whole \.npz"):
        store.read("00", "000007")
    path.write_bytes(b"no zip at all")
    with pytest.raises(DataError, match=r"000007\.npz: not a whole \.npz"):
        store.read("00", "000007")
    (tmp_path / "boxes.yaml").write_text("a: [1")
    with pytest.raises(DataError, match="not YAML"):
        BoxStore.open(tmp_path)
