# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The U-Net of pictures; windows of a picture, its views, and what a step reads of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from lidal3d.errors import DataError
from lidal3d.learn.architecture import Architecture
from lidal3d.learn.images.augment import PICTURE_AUGMENTATIONS, PictureView
from lidal3d.learn.images.picture import MARGIN, Picture
from lidal3d.learn.images.pictures import PICTURE_FEATURES, Pictures, interpolated
from lidal3d.learn.images.unet import Conv, Double, Halve, PixelNorm
from lidal3d.learn.loss import weighted_sums
from lidal3d.learn.networks import build
from lidal3d.learn.sampler import MOST_POINTS, Sampler
from lidal3d.settings.train import TrainConfig

CLASSES = 3
CPU = torch.device("cpu")


def network(width: float = 0.125, blocks: int = 1) -> torch.nn.Module:
    return build(Architecture(CLASSES, PICTURE_FEATURES, width, blocks, "unet2d"), seed=1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 7), (1, 16, 32), (3, 33, 17)])
@pytest.mark.parametrize("training", [True, False])
def test_pictures_of_any_size_get_a_row_a_pixel(shape: tuple[int, int, int], training: bool) -> None:
    pictures = torch.rand(shape[0], PICTURE_FEATURES, *shape[1:])
    logits, features = network(blocks=2).train(training)(pictures)
    assert logits.shape == (np.prod(shape), CLASSES)
    assert features.shape == (np.prod(shape), 8)
    assert torch.isfinite(logits).all()


def test_rows_are_pixels_in_order_and_pictures_do_not_touch() -> None:
    net = network().eval()
    pictures = torch.rand(3, PICTURE_FEATURES, 20, 30)
    before, _ = net(pictures)
    changed = pictures.clone()
    changed[1, :, 12, 25] += 1
    moved = (net(changed)[0] - before).abs().sum(dim=1).view(3, 20, 30)
    assert moved[[0, 2]].max() == 0
    row, column = divmod(int(moved[1].argmax()), 30)
    assert abs(row - 12) <= 2
    assert abs(column - 25) <= 2


def test_the_default_network_is_small() -> None:
    default = TrainConfig()
    net = build(Architecture(19, PICTURE_FEATURES, default.width, default.blocks, "unet2d"))
    assert 3e5 < sum(p.numel() for p in net.parameters()) < 6e5


@pytest.mark.parametrize("layer", [Conv(5, 7), Conv(5, 7, edge=1), Halve(5, 7), Double(5, 7)])
def test_normalisation_is_folded_into_weights(layer: torch.nn.Module) -> None:
    x = torch.randn(2, 5, 8, 6)
    for _ in range(3):
        layer.train()(x)
    torch.nn.init.normal_(layer.norm.weight)
    torch.nn.init.normal_(layer.norm.bias)
    layer.eval()
    torch.testing.assert_close(layer(x), layer.norm(layer.convolve(x, layer.weight, None)), rtol=1e-4, atol=1e-4)


def test_pixels_are_normalised_as_torch_does() -> None:
    x = torch.randn(2, 5, 4, 3)
    own, theirs = PixelNorm(5), torch.nn.BatchNorm2d(5)
    torch.testing.assert_close(own(x), theirs(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(own.running_var, theirs.running_var)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_colours_between_pixels_are_bilinear_and_end_at_the_edge(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 9, 2)
    values = rng.random((height, width, 2)).astype(np.float32)
    rows, columns = rng.uniform(-3, height + 3, 5), rng.uniform(-3, width + 3, 6)
    found = interpolated(torch.from_numpy(values), rows, columns).numpy()
    at = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    for k in range(2):
        wanted = map_coordinates(values[..., k], at, order=1, mode="nearest")
        np.testing.assert_allclose(found[..., k], wanted, atol=1e-5)


def seen(scale: float = 1.0, mirrored: bool = False, at: tuple[float, float, float] = (0, 0.5, 0.5)) -> PictureView:
    return PictureView(mirrored, scale, 1.0, np.ones(3, np.float32), np.array(at))


def a_picture(labels: np.ndarray, window_px: int = 0, weights: np.ndarray | None = None) -> Picture:
    """A picture whose colour says which pixel it is."""
    row, column = np.indices(labels.shape)
    colors = np.stack([row, column, labels], axis=2).astype(np.uint8)
    return Picture(colors, labels.astype(np.uint8), weights, window_px)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_window_lies_about_its_label_inside_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width, window = rng.integers(4, 40, 3)
    labels = np.full((height, width), 255)
    labelled = rng.integers(0, height * width, 3)
    labels.flat[labelled] = 1
    one = a_picture(labels, int(window))
    view = PICTURE_AUGMENTATIONS["default"].draw(rng)
    rows, columns = one.lines(view, one.window)
    assert (len(rows), len(columns)) == one.window == (min(height, window), min(width, window))
    center = sorted(set(labelled))[int(view.at[0] * len(set(labelled)))]
    for lines, c, size in ((rows, center // width, height), (np.sort(columns), center % width, width)):
        np.testing.assert_allclose(np.diff(lines), 1 / view.scale)
        extent = len(lines) / view.scale
        if extent <= size:
            assert lines[0] > -0.5
            assert lines[-1] < size - 0.5
        else:
            assert lines[0] <= 0.5
            assert lines[-1] >= size - 1.5
        start, end = lines[0] - 0.5 / view.scale, lines[-1] + 0.5 / view.scale
        assert start - 1e-6 <= c <= end + 1e-6
        margin = MARGIN * extent - 1 - 1e-6
        assert c - start >= margin or start <= -0.5 + 1e-6
        assert end - c >= margin or end >= size - 0.5 - 1e-6
    assert (one.labels_at(rows, columns)[0] != 255).any() or view.scale < 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_labels_and_colours_of_a_window_are_of_the_same_pixels(mirrored: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 2, 255], (12, 17)).astype(np.uint8)
    weights = rng.random((12, 17)).astype(np.float32)
    one = a_picture(labels, 8, weights)
    fed = Pictures("none", 8).batch([one], [seen(mirrored=mirrored, at=(0.4, 0.1, 0.9))], CLASSES, CPU)
    (pictures,) = fed.inputs
    assert pictures.shape == (1, PICTURE_FEATURES, 8, 8)
    row, column, label = (255 * pictures[0, :3]).round().long().flatten(1)
    assert torch.equal(fed.targets, label)
    np.testing.assert_array_equal(fed.targets, labels[row, column])
    np.testing.assert_array_equal(fed.weights, weights[row, column])
    steps = np.diff(column.view(8, 8).numpy(), axis=1)
    assert (steps == (-1 if mirrored else 1)).all()
    np.testing.assert_allclose(pictures[0, 3].flatten(), (row + 0.5) / 12 * 2 - 1, atol=1e-6)


def test_a_picture_as_it_is_is_the_picture() -> None:
    labels = np.arange(35).reshape(5, 7) % CLASSES
    one = a_picture(labels)
    view = PICTURE_AUGMENTATIONS["none"].draw(np.random.default_rng(0))
    fed = Pictures("none").batch([one], [view], CLASSES, CPU)
    np.testing.assert_allclose(fed.inputs[0][0, :3].permute(1, 2, 0), one.colors / 255, atol=1e-7)
    np.testing.assert_array_equal(fed.targets, labels.ravel())
    assert (fed.weights == 1).all()


def test_a_smaller_picture_is_continued_without_labels() -> None:
    small, large = a_picture(np.ones((3, 4))), a_picture(np.zeros((6, 8)))
    fed = Pictures("none").batch([small, large], [seen(), seen()], CLASSES, CPU)
    assert fed.inputs[0].shape == (2, PICTURE_FEATURES, 6, 8)
    targets = fed.targets.view(2, 6, 8)
    assert (targets[0] == 1).sum() == 12
    assert (targets[0] == 255).sum() == 36
    assert (fed.weights.view(2, 6, 8)[0][targets[0] == 255] == 0).all()
    assert (targets[1] == 0).all()


def test_a_label_of_no_weight_is_none() -> None:
    points = np.zeros((6, 5), np.float32)
    points[:, 0], points[:, 1] = np.tile([0, 1, 2], 2), np.repeat([0, 1], 3)
    weights = np.array([0, 1, 0.5, 0, 1, 1], np.float32)
    item = Pictures().item(points, np.array([0, 1, 2, 1, 255, 0], np.uint8), weights)
    assert item.labels.tolist() == [[255, 1, 2], [255, 255, 0]]


def test_pixels_without_a_label_have_no_gradient() -> None:
    labels = np.full((9, 9), 255)
    labels[2:4, 5:8] = 2
    fed = Pictures("none").batch([a_picture(labels)], [seen()], CLASSES, CPU)
    logits = torch.randn(81, CLASSES, requires_grad=True)
    weighted_sums(logits, fed.targets, fed.weights, torch.ones(CLASSES))[0].backward()
    assert torch.equal(logits.grad.abs().sum(dim=1) > 0, torch.from_numpy(labels.ravel() == 2))


@pytest.mark.parametrize("scale", [1.0, 0.8, 1.25])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_way_back_from_a_view_ends_where_it_began(scale: float, mirrored: bool) -> None:
    row, column = np.mgrid[:20, :31]
    smooth = np.stack([row / 20, column / 31, (row + column) / 51], axis=2)
    points = torch.from_numpy(np.column_stack([column.ravel(), row.ravel(), smooth.reshape(-1, 3)]).astype(np.float32))
    (pictures,), back = Pictures().view(points, seen(scale, mirrored))
    assert pictures.shape == (1, PICTURE_FEATURES, round(20 * scale), round(31 * scale))
    outputs = pictures[0].permute(1, 2, 0).reshape(-1, PICTURE_FEATURES)
    np.testing.assert_allclose(back(outputs)[:, :3], points[:, 2:], atol=0 if scale == 1 else 0.05)


def sampler_of(pictures: list[Picture], window_px: int, batch: int = 2) -> Sampler:
    feed = Pictures("default", window_px)
    return Sampler(len(pictures), pictures.__getitem__, feed, batch, CLASSES, np.random.default_rng(0), CPU)


def test_a_step_of_windows_has_as_many_labels_as_whole_pictures_have_pixels() -> None:
    whole = [a_picture(np.zeros((40, 50)), 20) for _ in range(9)]
    batch = sampler_of(whole, 20).next()
    assert batch.inputs[0].shape == (10, PICTURE_FEATURES, 20, 20)
    assert len(batch.targets) == 2 * 40 * 50


def test_a_step_of_windows_about_few_labels_ends_at_twice_the_pixels() -> None:
    rng = np.random.default_rng(3)
    few = [np.full((40, 50), 255) for _ in range(40)]
    for labels in few:
        top, left = rng.integers(0, 36), rng.integers(0, 46)
        labels[top : top + 4, left : left + 4] = 1
    whole, cut = (sampler_of([a_picture(labels, window) for labels in few], window) for window in (0, 10))
    batch = cut.next()
    assert batch.inputs[0].shape[0] == MOST_POINTS * 2 * 20
    assert ((batch.targets != 255).view(80, -1).any(dim=1)).all()
    assert (batch.targets != 255).sum() > 20 * (whole.next().targets != 255).sum()


@pytest.mark.parametrize("points", [np.zeros((5, 5), np.float32), np.zeros((0, 5), np.float32)])
def test_pixels_that_are_no_whole_picture_are_refused(points: np.ndarray) -> None:
    with pytest.raises(DataError, match="pixels"):
        Pictures().item(points, np.zeros(len(points), np.uint8), None)
