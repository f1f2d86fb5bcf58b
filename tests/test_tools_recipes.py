# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/recipes.md run; what the mmdet3d tools do with arrays is right. Nothing here needs mmdet3d.

Pointcept, OpenPCSeg and WaffleIron are replaced by stand-ins that have the functions and shapes that the recipes use.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from miniature import make_scenes, write_semantickitti

from lidal3d.predictions import PredictionStore
from lidal3d.predictions.boxes import BoxStore
from lidal3d.scene.open import open_drive

ROOT = Path(__file__).resolve().parents[1]
RECIPES = {
    re.match(r"# recipe: (\w+)", block)[1]: block
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "recipes.md").read_text(), flags=re.M | re.S)
}
POINTS, VOXELS, CLASSES = 9, 5, 3
INVERSE = np.array([0, 1, 1, 2, 3, 4, 4, 0, 2])


def run(recipe: str, **names: Any) -> None:
    """Run the shared lines and a recipe as one script."""
    names["__name__"] = "recipe"
    exec(compile(RECIPES["shared"] + RECIPES[recipe], f"docs/recipes.md: {recipe}", "exec"), names)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits.astype(np.float64))
    return shares / shares.sum(axis=1, keepdims=True)


def install(monkeypatch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> None:
    """Put modules of these names (a__b for a.b) and contents where `import` finds them."""
    for name, content in modules.items():
        parts = name.split("__")
        for depth in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), ModuleType(".".join(parts[:depth])))
        vars(sys.modules[".".join(parts)]).update(content)


def test_every_recipe_is_known() -> None:
    assert set(RECIPES) == {"shared", "onnx", "pointcept", "openpcseg", "waffleiron"}


def test_shared_lines() -> None:
    names: dict[str, Any] = {}
    exec(RECIPES["shared"], names)
    logits = np.array([[1000.0, 1001.0, 999.0], [0.0, 0.0, 0.0]])
    made = names["probabilities"](logits)
    assert made.dtype == np.float16
    np.testing.assert_allclose(made, softmax(logits - 1000 * (logits > 500)), atol=1e-3)
    assert names["scene_and_frame"]("data/sequences/08/velodyne/000123.bin") == ("08", "000123")


# --- ONNX Runtime --------------------------------------------------------------------------------------------------


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """A protobuf message of (field number, value) pairs whose numbers are below 128."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += bytes([number << 3, value])
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += bytes([number << 3 | 2]) + bytes([len(raw) & 127 | 128, len(raw) >> 7]) + raw
    return out


def linear_onnx(weights: np.ndarray) -> bytes:
    """An ONNX model that multiplies points (n, K) by weights (K, C)."""

    def value(name: str, size: int) -> bytes:
        shape = message((1, message((2, "n"))), (1, message((1, size))))
        return message((1, name), (2, message((1, message((1, 1), (2, shape))))))

    rows, columns = weights.shape
    constant = message((1, rows), (1, columns), (2, 1), (8, "weights"), (9, weights.astype("<f4").tobytes()))
    node = message((1, "points"), (1, "weights"), (2, "logits"), (4, "MatMul"))
    graph = message(
        (1, node), (2, "linear"), (5, constant), (11, value("points", rows)), (12, value("logits", columns))
    )
    return message((1, 8), (8, message((2, 13))), (7, graph))


def test_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    weights = np.random.default_rng(0).normal(size=(4, 19)) / 50
    (tmp_path / "model.onnx").write_bytes(linear_onnx(weights))
    scenes = make_scenes(0, ["03"], [10, 40], frames=2, instances=True)
    write_semantickitti(tmp_path / "drive", scenes)
    monkeypatch.chdir(tmp_path)
    run("onnx")
    store = PredictionStore.open("predictions")
    (scene,) = open_drive("drive")
    assert scene.label_map is not None
    assert store.classes == scene.label_map.classes
    for frame in scene:
        expected = softmax(frame.points() @ weights)
        np.testing.assert_allclose(store.probabilities("03", frame.name, len(expected)), expected, atol=2e-3)


# --- frameworks with a stand-in ------------------------------------------------------------------------------------


def written(scene: str, frame: str) -> tuple[PredictionStore, np.ndarray]:
    store = PredictionStore.open("predictions")
    return store, store.probabilities(scene, frame, POINTS).astype(np.float64)


class SegLogits(torch.nn.Module):
    """Pointcept's answer to a fragment: scores of its voxels, which are the rows of "feat"."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, part: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"seg_logits": part["feat"] * self.scale}


def test_pointcept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2, VOXELS, CLASSES)).astype(np.float32)
    parts = [(logits[0], np.arange(VOXELS)), (logits[1][[4, 0, 2]], np.array([4, 0, 2]))]
    sweep = {
        "segment": np.zeros(VOXELS, np.int32),
        "name": "08_000123",
        "origin_segment": np.zeros(POINTS, np.int32),
        "inverse": INVERSE,
        "fragment_list": [{"feat": torch.from_numpy(f), "index": torch.from_numpy(i)} for f, i in parts],
    }
    built: list[dict[str, Any]] = []

    def build(options: dict[str, Any]) -> SimpleNamespace:
        built.append(options)
        return SimpleNamespace(model=SegLogits(), test_loader=[[sweep]])

    data = SimpleNamespace(names=["car", "road", "pole"], num_classes=CLASSES)
    install(
        monkeypatch,
        pointcept__datasets={"collate_fn": lambda parts: dict(parts[0], offset=torch.tensor([len(parts[0]["feat"])]))},
        pointcept__engines__defaults={"default_config_parser": lambda file, options: SimpleNamespace(data=data)},
    )
    engines = sys.modules["pointcept.engines"]
    tester = ModuleType("pointcept.engines.test")
    tester.TESTERS = SimpleNamespace(build=build)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pointcept.engines.test", tester)
    engines.test = tester  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    run("pointcept")
    votes = softmax(logits[0])
    for row, vote in zip(parts[1][1], softmax(parts[1][0]), strict=True):
        votes[row] += vote
    expected = (votes / votes.sum(axis=1, keepdims=True))[INVERSE]
    store, found = written("08", "000123")
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert store.classes == ("car", "road", "pole")
    assert built[0]["type"] == "SemSegTester"


def test_openpcseg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(2).normal(size=(POINTS, 1 + CLASSES)).astype(np.float32)
    logits[:, 0] = 50.0  # "unlabeled" is sure of itself, and must not matter
    batch = {"name": ["data/sequences/08/velodyne/000007.bin"]}
    loader = SimpleNamespace(dataset=SimpleNamespace(class_names=["unlabeled", "car", "road", "pole"]))
    moved: list[Any] = []

    class Loader(SimpleNamespace):
        def __iter__(self) -> Any:
            return iter([batch])

    class Network:
        def eval(self) -> None:
            moved.append("eval")

        def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
            assert moved == ["eval", given]
            return {"name": given["name"], "point_predict_logits": [logits]}

    install(monkeypatch, pcseg__model={"load_data_to_gpu": moved.append})
    monkeypatch.chdir(tmp_path)
    run("openpcseg", loader=Loader(**vars(loader)), model=Network())
    store, found = written("08", "000007")
    np.testing.assert_allclose(found, softmax(logits[:, 1:]), atol=1e-3)
    assert store.classes == ("car", "road", "pole")


class Waffle(torch.nn.Module):
    """WaffleIron's answer (1, C, voxels): its features, so that the recipe's way of undoing voxels shows."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, feats: Any, cell_ind: Any, occupied_cell: Any, neighbors: Any) -> torch.Tensor:
        assert (cell_ind[0, 0, 0], occupied_cell[0, 0], neighbors[0, 0, 0]) == (1, 2, 3)
        return feats * self.scale


def test_waffleiron(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feats = np.random.default_rng(3).normal(size=(1, CLASSES, VOXELS)).astype(np.float32)

    class Collate:
        def __call__(self, samples: list[Any]) -> dict[str, Any]:
            return {
                "feat": torch.from_numpy(feats),
                "cell_ind": torch.ones(1, 1, VOXELS, dtype=torch.long),
                "occupied_cells": torch.full((1, VOXELS), 2.0),
                "neighbors_emb": torch.full((1, 4, VOXELS), 3),
                "upsample": [torch.from_numpy(INVERSE)],
                "filename": [sample[0] for sample in samples],
            }

    class Data(list):
        CLASS_NAME = ("car", "road", "pole")

    install(monkeypatch, datasets={"Collate": Collate})
    monkeypatch.chdir(tmp_path)
    run("waffleiron", dataset=Data([("data/sequences/08/velodyne/000042.bin",)]), net=Waffle())
    store, found = written("08", "000042")
    np.testing.assert_allclose(found, softmax(feats[0].T[INVERSE]), atol=1e-3)
    assert store.classes == Data.CLASS_NAME


# --- tools/mmdet3d_*.py --------------------------------------------------------------------------------------------


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of tools/ by name."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module


def corners(center: np.ndarray, size: np.ndarray, yaw: float) -> np.ndarray:
    """(8, 3) corners of a box, its length along the heading."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    return center + (signs * size / 2) @ turn.T


@pytest.mark.parametrize("axes", ["xforward", "yforward"])
def test_boxes_of_mmdet3d_lie_on_the_same_corners(tool: Any, axes: str) -> None:
    predict, model = tool("mmdet3d_predict"), tool("mmdet3d_model")
    rng = np.random.default_rng(4)
    bottom = np.column_stack([rng.uniform(-40, 40, (20, 3)), rng.uniform(0.5, 5, (20, 3)), rng.uniform(-9, 9, 20)])
    made = predict.lidal_boxes(bottom, axes)
    assert made.dtype == np.float32
    assert ((made[:, 6] >= -np.pi) & (made[:, 6] < np.pi)).all()
    for box, (x, y, z, *size, yaw) in zip(made, bottom, strict=True):
        theirs = corners(np.array([x, y, z + size[2] / 2]), np.array(size), yaw)
        ours = corners(box[:3], box[3:6], box[6])
        turned = model.model_points(np.hstack([ours, np.zeros((8, 1))]).astype(np.float32), axes, 1.0, 3)
        assert np.abs(turned - theirs).max() < 1e-4


def test_no_boxes_stay_no_boxes(tool: Any) -> None:
    predict = tool("mmdet3d_predict")
    boxes = predict.lidal_boxes(np.zeros((0, 7)), "xforward")
    rows, scores = predict.merged(boxes, np.zeros((0, 3), np.float32))
    assert boxes.shape == (0, 7)
    assert rows.shape == (0,)
    assert scores.shape == (0, 3)


def test_points_get_the_models_columns(tool: Any) -> None:
    points = np.array([[1.0, 2.0, 3.0, 0.5]], np.float32)
    made = tool("mmdet3d_model").model_points(points, "yforward", 255.0, 5)
    assert made.tolist() == [[-2.0, 1.0, 3.0, 127.5, 0.0]]


def test_columns_take_the_names_of_a_data_set(tool: Any) -> None:
    named = tool("mmdet3d_model").named_classes
    assert named("semantickitti")[4] == "other-vehicle"
    assert named("a,b") == ("a", "b")


def test_view_turns_with_the_boxes(tool: Any) -> None:
    view = tool("mmdet3d_predict").lidal_view
    assert view([0, -40, -3, 70, 39, 1], "xforward") == (0, -40, 70, 39)
    # Before the car is y = 2 … 50 there and x = 2 … 50 here; right of it is x > 0 there and y < 0 here.
    assert view([-10, 2, -3, 20, 50, 1], "yforward") == (2, -20, 50, 10)
    assert view(None, "xforward") is None


def test_scores_follow_their_box_through_suppression(tool: Any) -> None:
    rows_of = tool("mmdet3d_predict").rows_of
    candidates = np.random.default_rng(5).normal(size=(30, 7)).astype(np.float32)
    kept = np.array([7, 3, 29, 3])
    assert rows_of(candidates[kept], candidates).tolist() == kept.tolist()
    assert rows_of(candidates[kept] + np.float32(1e-3), candidates) is None


def test_one_box_reported_for_two_classes_becomes_one(tool: Any) -> None:
    a, b = np.arange(7.0), np.arange(7.0) + 1
    boxes = np.array([a, b, a], np.float32)
    scores = np.array([[0.2, 0, 0.1], [0, 0.3, 0], [0.2, 0.6, 0]], np.float32)
    rows, merged = tool("mmdet3d_predict").merged(boxes, scores)
    assert boxes[rows].tolist() == [a.tolist(), b.tolist()]
    np.testing.assert_allclose(merged, [[0.2, 0.6, 0.1], [0, 0.3, 0]])


def test_map_is_sampled_at_the_boxes_centre(tool: Any) -> None:
    witness = object.__new__(tool("mmdet3d_predict").Witness)
    witness.range = [0.0, -10.0, -3.0, 40.0, 10.0, 1.0]
    y, x = torch.meshgrid(torch.arange(20) + 0.5, torch.arange(40) + 0.5, indexing="ij")
    grid = torch.stack([x, y - 10])[None]  # cells of 1 m that hold their own centre
    centers = torch.tensor([[3.5, -2.5], [17.25, 4.0], [38.9, -9.2]])
    np.testing.assert_allclose(witness.sample(grid, centers, "bilinear"), centers, atol=1e-5)
    assert witness.sample(grid, centers[1:2], "nearest").tolist() == [[17.5, 4.5]]
    assert witness.sample(None, centers, "bilinear") is None


def test_script_says_how_it_is_used() -> None:
    answer = subprocess.run(["bash", ROOT / "tools" / "mmdet3d_env.sh"], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr == "usage: tools/mmdet3d_env.sh DIR\n"


# --- tools/mmdet3d_train.py ----------------------------------------------------------------------------------------


def test_snug_box_finds_a_turned_box(tool: Any) -> None:
    train = tool("mmdet3d_train")
    for degrees in (0, 30, 115, 179):
        vertices = corners(np.array([5.0, -3.0, 1.0]), np.array([4.0, 1.8, 1.5]), np.radians(degrees))
        yaw = train.snug_yaw(vertices[:, :2])
        assert yaw == pytest.approx(np.radians(degrees))
        np.testing.assert_allclose(train.box_along(vertices, yaw), [5, -3, 1, 4, 1.8, 1.5, np.radians(degrees)])


def test_points_in_a_turned_box_are_counted(tool: Any) -> None:
    inside = corners(np.array([5.0, -3.0, 1.0]), np.array([3.9, 1.7, 1.4]), 0.7)
    outside = corners(np.array([5.0, -3.0, 1.0]), np.array([4.3, 1.7, 1.4]), 0.7)
    boxes = np.array([[5.0, -3.0, 1.0, 4.0, 1.8, 1.5, 0.7], [50.0, 0, 0, 1, 1, 1, 0]])
    counts = tool("mmdet3d_train").points_inside(np.vstack([inside, outside]), boxes)
    assert counts.tolist() == [8, 0]


@pytest.mark.parametrize("mirror", [False, True])
def test_boxes_turn_with_their_points(tool: Any, mirror: bool) -> None:
    train = tool("mmdet3d_train")
    box = np.array([[5.0, -3.0, 1.0, 4.0, 1.8, 1.5, 0.7]])
    points = np.hstack([corners(box[0, :3], box[0, 3:6], 0.7), np.ones((8, 1))])
    points, (turned,) = train.turned(points, box, 2.1, mirror, 1.05)
    theirs = corners(turned[:3], turned[3:6], turned[6])
    away = np.linalg.norm(points[:, None, :3] - theirs, axis=2).min(axis=1)
    assert away.max() < 1e-9
    assert np.linalg.norm(turned[:2]) == pytest.approx(1.05 * np.hypot(5, 3))


def test_average_precision_by_hand(tool: Any, tmp_path: Path) -> None:
    train = tool("mmdet3d_train")
    place = np.array([[10.0, 0, 0, 4, 2, 1.5, 0], [20.0, 5, 0, 4, 2, 1.5, 0]], np.float32)
    car = np.eye(3, dtype=np.float32)[[2, 2]]
    truth, found = (BoxStore(tmp_path / name, train.CLASSES) for name in ("truth", "found"))
    truth.write("00", "0", place, car)
    found.write("00", "0", place[[0, 0, 1]] + [[0.3], [0.2], [0.4]], np.array([[0, 0, 0.5], [0, 0, 0.9], [0, 0, 0.3]]))
    # Best first: right, wrong (that car is found already), right: precision 1, 1/2, 2/3 at recalls ½, ½, 1.
    table = train.compare(tmp_path / "found", tmp_path / "truth", 1.0)
    assert re.search(r"Car +3 +2 +1\.000 +0\.833", table)
    assert re.search(r"Cyclist +0 +0 +nan +nan", table)
    sure = train.compare(tmp_path / "found", tmp_path / "truth", 1.0, 0.5)  # the third one goes
    assert re.search(r"Car +2 +2 +0\.500 +0\.500", sure)
