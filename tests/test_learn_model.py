# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Augmentation, voxel features and labels, checkpoints, evaluation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lidal3d.errors import DataError
from lidal3d.learn.augment import AUGMENTATIONS, Augmentation
from lidal3d.learn.batch import VOXEL_FEATURES, Sweep, network_input, voxel_labels
from lidal3d.learn.evaluate import accuracy, class_iou, confusion_matrix, mean_iou
from lidal3d.learn.minkunet import Architecture
from lidal3d.learn.model import HEADER_KEY, Model, load_model
from lidal3d.learn.networks import build
from lidal3d.learn.voxels import unpack


def test_default_views_keep_shapes_and_the_vertical() -> None:
    rng = np.random.default_rng(0)
    signs = set()
    for _ in range(50):
        matrix = AUGMENTATIONS["default"].draw(rng).astype(np.float64)
        scale = matrix[2, 2]
        assert 0.95 <= scale <= 1.05
        np.testing.assert_allclose(matrix @ matrix.T, scale**2 * np.eye(3), atol=1e-6)
        np.testing.assert_allclose(matrix[2, :2], 0, atol=1e-7)
        signs.add(np.sign(np.linalg.det(matrix)))
    assert signs == {1, -1}


def test_no_augmentation_is_the_identity() -> None:
    np.testing.assert_array_equal(AUGMENTATIONS["none"].draw(np.random.default_rng(1)), np.eye(3))


def test_paper_views_are_the_released_formula() -> None:
    matrix = Augmentation(mirror=0.0, scale=0.0, affine_noise=0.1, rotate=False).draw(np.random.default_rng(3))
    expected = np.eye(3) + 0.1 * np.random.default_rng(3).standard_normal((3, 3))
    np.testing.assert_allclose(matrix, expected, rtol=1e-6)


def random_points(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform((-3, -3, -1, 0), (3, 3, 1, 1), size=(count, 4)).astype(np.float32)


def test_voxel_features_are_means_over_its_points() -> None:
    views = [random_points(0, 300), random_points(1, 200)]
    data = network_input([torch.from_numpy(v) for v in views], 0.5)
    cells, batch = unpack(data.voxels.keys)
    assert data.features.shape == (len(data.voxels), VOXEL_FEATURES)
    for cell, number, found in zip(cells.numpy(), batch.numpy(), data.features.numpy(), strict=True):
        p = views[number]
        p = p[(np.floor(p[:, :3] / 0.5) == cell).all(axis=1)]
        offset = (p[:, :3].mean(0) - (cell + 0.5) * 0.5) / 0.5
        rest = [p[:, 2].mean(), np.hypot(p[:, 0], p[:, 1]).mean(), p[:, 3].mean()]
        np.testing.assert_allclose(found, [*offset, *rest], atol=2e-5)


def test_intensities_that_are_not_finite_are_refused() -> None:
    points = random_points(2, 50)
    points[7, 3] = np.nan
    with pytest.raises(DataError, match="1 of 50 intensities"):
        network_input([torch.from_numpy(points)], 0.5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), weighted=st.booleans())
def test_voxel_labels_are_the_heaviest_of_its_points(seed: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    points = random_points(seed, 120)
    labels = rng.choice([0, 1, 2, 255], size=120).astype(np.uint8)
    weights = rng.choice([0, 0.25, 1.0], size=120).astype(np.float32) if weighted else None
    voxels = network_input([torch.from_numpy(points)], 1.5).voxels
    found, found_weights = voxel_labels(voxels, labels, weights, classes=3)
    w = np.ones(120) if weights is None else weights
    for voxel in range(len(voxels)):
        mine = voxels.point_voxel.numpy() == voxel
        votes = [w[mine & (labels == c)].sum() for c in range(3)]
        if max(votes) == 0:
            assert found[voxel] == 255
            continue
        best = int(np.argmax(votes))
        assert found[voxel] == best
        assert found_weights[voxel] == pytest.approx(w[mine & (labels == best) & (w > 0)].mean())


def test_a_sweep_is_cut_at_its_range() -> None:
    points = random_points(4, 100)
    labels = np.arange(100, dtype=np.uint8)
    near = Sweep(points, labels, labels.astype(np.float32)).within(2.0)
    kept = np.flatnonzero(np.hypot(points[:, 0], points[:, 1]) < 2)
    np.testing.assert_array_equal(near.labels, kept)
    np.testing.assert_array_equal(near.weights, kept)
    np.testing.assert_array_equal(near.points, points[kept])


def small_model(classes: tuple[str, ...] = ("a", "b", "c"), width: float = 0.125) -> Model:
    network = build(Architecture(len(classes), VOXEL_FEATURES, width, 1), seed=1)
    return Model(network, classes, "tiny", 0.25, "paper", {"steps": 3})


def test_a_model_comes_back_from_its_file(tmp_path: object) -> None:
    model = small_model()
    path = model.save(tmp_path)
    back = load_model(tmp_path)
    for name in ("classes", "label_map", "voxel_m", "augmentation", "settings", "name"):
        assert getattr(back, name) == getattr(model, name)
    assert back.network.architecture == model.network.architecture
    assert not back.network.training
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(back.network.state_dict()[name], tensor)
    assert load_model(path, model.classes, model.network.architecture).classes == model.classes


def one_line(error: pytest.ExceptionInfo[DataError], *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for part in ("model.safetensors", *parts):
        assert part in message


def test_a_model_of_other_classes_is_refused(tmp_path: object) -> None:
    small_model().save(tmp_path)
    with pytest.raises(DataError) as error:
        load_model(tmp_path, classes=("a", "b"))
    one_line(error, "3 classes", "has 2")
    with pytest.raises(DataError) as error:
        load_model(tmp_path, classes=("a", "x", "c"))
    one_line(error, "class 1", "'b'", "'x'")


def test_a_model_of_another_architecture_is_refused(tmp_path: object) -> None:
    small_model().save(tmp_path)
    with pytest.raises(DataError) as error:
        load_model(tmp_path, architecture=Architecture(3, VOXEL_FEATURES, 0.5, 1))
    one_line(error, "width 0.125", "width 0.5")


def test_damaged_model_files_are_refused(tmp_path: object) -> None:
    path = small_model().save(tmp_path)
    whole = path.read_bytes()
    with pytest.raises(DataError, match="no model there"):
        load_model(tmp_path / "elsewhere")
    for damaged in (whole[: len(whole) // 2], b"", b"\x80\x04N."):
        path.write_bytes(damaged)
        with pytest.raises(DataError) as error:
            load_model(tmp_path)
        one_line(error, "not a whole safetensors file")


def test_weights_that_do_not_fit_their_header_are_refused(tmp_path: object) -> None:
    path = small_model().save(tmp_path)
    header = {
        "format": 1,
        "architecture": Architecture(3, VOXEL_FEATURES, 0.125, 1).to_dict(),
        "classes": ["a", "b", "c"],
        "label_map": "tiny",
        "voxel_m": 0.25,
        "augmentation": "paper",
        "settings": {},
    }
    tensors = load_file(path)

    def rewrite(changes: dict[str, torch.Tensor], **header_changes: object) -> None:
        save_file({**tensors, **changes}, path, {HEADER_KEY: json.dumps({**header, **header_changes})})

    rewrite({})
    load_model(tmp_path)
    rewrite({"head.bias": torch.zeros(7)})
    with pytest.raises(DataError) as error:
        load_model(tmp_path)
    one_line(error, "head.bias", "(7,)", "(3,)")
    rewrite({"more": torch.zeros(1)})
    with pytest.raises(DataError, match="'more'"):
        load_model(tmp_path)
    rewrite({}, format=99)
    with pytest.raises(DataError, match="format 99"):
        load_model(tmp_path)
    rewrite({}, architecture={"name": "other"})
    with pytest.raises(DataError, match="header"):
        load_model(tmp_path)
    save_file(tensors, path)
    with pytest.raises(DataError, match="without a lidal3d header"):
        load_model(tmp_path)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 60))
def test_confusion_and_iou_count_sets(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 3, 255], size=count).astype(np.uint8)
    predicted = rng.integers(0, 3, size=count)
    matrix = confusion_matrix(labels, predicted, 5)
    expected = []
    for c in range(5):
        truth = {i for i in range(count) if labels[i] == c}
        guess = {i for i in range(count) if predicted[i] == c and labels[i] != 255}
        union = truth | guess
        expected.append(len(truth & guess) / len(union) if union else np.nan)
    np.testing.assert_allclose(class_iou(matrix), expected)
    seen = [v for v in expected if not np.isnan(v)]
    assert mean_iou(matrix) == pytest.approx(np.mean(seen) if seen else np.nan, nan_ok=True)
    used = labels != 255
    right = (labels[used] == predicted[used]).mean() if used.any() else np.nan
    assert accuracy(matrix) == pytest.approx(right, nan_ok=True)
