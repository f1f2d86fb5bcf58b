# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training on pictures and predicting them, from frames in memory and from a drive's camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_learn_jobs import GROUND, MAP, RAW_IGNORED, WALL, bytes_of, memory_scene, picture, settings, sweep, weights_of

from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.predict import predict_drive
from lidal3d.jobs.train import train_on_drive
from lidal3d.learn.evaluate import accuracy, confusion_matrix, mean_iou
from lidal3d.learn.feeds import architecture_for
from lidal3d.learn.model import Model, load_model
from lidal3d.learn.predict import predict_maps
from lidal3d.learn.train import train
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.scene import Frame
from lidal3d.sim import SimConfig, write_drive


def trained(**changes: object) -> tuple[Model, list[float]]:
    losses: list[float] = []
    frames = list(memory_scene(*(picture(i) for i in range(5))))
    model = train(frames, MAP, settings(**changes).train, progress=lambda _, loss: losses.append(loss))
    return model, losses


@pytest.fixture(scope="module")
def model() -> Model:
    return trained(steps=30)[0]


def same(a: Model, b: Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(weights_of(a), weights_of(b), strict=True))


@pytest.mark.parametrize("changes", [{}, {"window_px": 16}, {"window_px": 0}, {"precision": "bfloat16"}])
def test_training_learns_walls_of_a_picture_never_seen(changes: dict[str, object]) -> None:
    model, losses = trained(steps=30, **changes)
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    points, raw = picture(99, 51, 40)
    maps = predict_maps(model, points, 3, np.random.default_rng(0))
    confusion = confusion_matrix(MAP.to_train(raw), maps.probabilities.argmax(1), 2)
    assert accuracy(confusion) > 0.9
    assert mean_iou(confusion) > 0.7


def test_few_labels_suffice_and_all_of_them_are_respected() -> None:
    """Each picture has one patch labelled, and what lies elsewhere in `labels` is never seen."""

    def patch(frame: Frame, elsewhere: int | None) -> tuple[np.ndarray, np.ndarray | None]:
        labels = frame.labels().reshape(33, 45)
        row, column = (7 * frame.index) % 26, (11 * frame.index) % 38
        inside = np.zeros(labels.shape, bool)
        inside[row : row + 7, column : column + 7] = True
        if elsewhere is None:
            return np.where(inside, labels, np.uint8(255)).ravel(), None
        return np.where(inside, labels, np.uint8(elsewhere)).ravel(), inside.ravel().astype(np.float32)

    frames = list(memory_scene(*(picture(i) for i in range(8))))
    short, long = (settings(steps=steps, window_px=16).train for steps in (2, 30))
    masked, zero, one = (train(frames, MAP, short, labels=lambda f, e=e: patch(f, e)) for e in (None, 0, 1))
    assert same(masked, zero)
    assert same(masked, one)
    masked = train(frames, MAP, long, labels=lambda f: patch(f, None))
    points, raw = picture(99)
    maps = predict_maps(masked, points, 1, np.random.default_rng(0))
    assert accuracy(confusion_matrix(MAP.to_train(raw), maps.probabilities.argmax(1), 2)) > 0.85


def test_more_threads_change_nothing() -> None:
    one, _ = trained(steps=4)
    points, _ = picture(7)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two, _ = trained(steps=4)
        maps = predict_maps(two, points, 2, np.random.default_rng(0))
    finally:
        torch.set_num_threads(before)
    assert same(one, two)
    assert np.array_equal(predict_maps(one, points, 2, np.random.default_rng(0)).probabilities, maps.probabilities)


def test_pictures_without_a_label_are_passed_over() -> None:
    pixels, raw = picture(0)
    nothing = np.full_like(raw, RAW_IGNORED)
    scene = memory_scene((pixels, raw), *((pixels, nothing) for _ in range(4)))
    losses: list[float] = []
    train(list(scene), MAP, settings(batch=1, steps=4).train, progress=lambda _, loss: losses.append(loss))
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    with pytest.raises(DataError, match="no labelled pixel in 1 pictures"):
        train(list(memory_scene((pixels, nothing))), MAP, settings().train)


@pytest.mark.parametrize("views", [1, 3])
def test_every_pixel_gets_a_distribution_and_features(model: Model, views: int) -> None:
    points, _ = picture(3, 37, 21)
    maps = predict_maps(model, points, views, np.random.default_rng(0), features=True, members=True)
    assert maps.probabilities.shape == (777, 2)
    np.testing.assert_allclose(maps.probabilities.sum(1), 1, atol=1e-6)
    assert maps.features is not None
    assert maps.features.shape == (777, 8)
    assert maps.members is not None
    assert len(maps.members) == views
    np.testing.assert_allclose(np.mean(maps.members, axis=0), maps.probabilities, atol=1e-5)
    again = predict_maps(model, points, views, np.random.default_rng(0))
    assert np.array_equal(again.probabilities, maps.probabilities)
    assert predict_maps(model, points[:0], views, np.random.default_rng(0)).probabilities.shape == (0, 2)


def test_a_mirrored_view_of_a_mirrored_picture_is_the_same(model: Model) -> None:
    points, _ = picture(3, 48, 32)
    mirrored = points.copy()
    mirrored[:, 2:] = points[:, 2:].reshape(32, 48, 3)[:, ::-1].reshape(-1, 3)
    found = [predict_maps(model, p, 40, np.random.default_rng(1)).probabilities for p in (points, mirrored)]
    np.testing.assert_allclose(found[0], found[1].reshape(32, 48, 2)[:, ::-1].reshape(-1, 2), atol=0.1)


def test_a_model_of_pictures_comes_back_from_its_file(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    scene = memory_scene(picture(0))
    back = load_model(tmp_path, MAP.classes, architecture_for(MAP, settings().train, list(scene)))
    assert back.name == model.name == "unet2d 0.12M"
    assert same(back, model)
    with pytest.raises(DataError, match="channels_in 4, but channels_in 6"):
        load_model(tmp_path, MAP.classes, architecture_for(MAP, settings().train))


def test_the_network_fits_the_frames_or_one_line_says_why() -> None:
    pictures, sweeps = list(memory_scene(picture(0))), list(memory_scene(sweep(0)))
    assert architecture_for(MAP, settings().train, pictures).name == "unet2d"
    assert architecture_for(MAP, settings(architecture="unet2d").train, pictures).name == "unet2d"
    assert architecture_for(MAP, settings().train, sweeps).name == "minkunet"
    with pytest.raises(UsageError, match="spvcnn reads sweeps, but the frames are pictures; set it to unet2d"):
        train(pictures, MAP, settings(architecture="spvcnn").train)
    with pytest.raises(UsageError, match="unet2d reads pictures, but the frames are sweeps; set it to minkunet"):
        train(sweeps, MAP, settings(architecture="unet2d").train)
    with pytest.raises(DataError, match="sweeps and pictures among the 2 frames"):
        train(sweeps + pictures, MAP, settings().train)


def test_points_of_other_columns_are_refused(model: Model) -> None:
    with pytest.raises(DataError, match=r"shape \(600, 4\), but the network reads 5 columns \(column row") as error:
        predict_maps(model, sweep(0)[0], 2, np.random.default_rng(0))
    assert "\n" not in str(error.value)
    of_sweeps = train(list(memory_scene(sweep(0))), MAP, settings(steps=1).train)
    with pytest.raises(DataError, match=r"5\), but the network reads 4 columns \(x y z intensity"):
        predict_maps(of_sweeps, picture(0)[0], 1, np.random.default_rng(0))
    scene = memory_scene(picture(0), sweep(1))
    with pytest.raises(DataError, match=r"memory/000001\.bin: points of shape \(600, 4\)"):
        train(list(scene), MAP, settings(class_balance=1.0).train)
    points, raw = picture(0)
    with pytest.raises(DataError, match=r"memory/000000\.bin: 1480 pixels for a picture of 40 × 33"):
        train(list(memory_scene((points[:-5], raw[:-5]))), MAP, settings().train)
    points[7, 3] = np.nan
    with pytest.raises(DataError, match="1 of 1485 pixels are not finite"):
        predict_maps(model, points, 1, np.random.default_rng(0))


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drive")
    config = SimConfig(frames=4, beams=8, columns=90, camera_width=96, camera_height=40, seed=4)
    write_drive(config, folder, "semantickitti", "00")
    return folder


def test_a_camera_of_a_drive_is_trained_on_and_predicted_alike_by_any_number_of_workers(
    drive: Path, tmp_path: Path
) -> None:
    address = f"{drive}@image_2:64"
    config = settings(steps=6, batch=1, learning_rate=0.003)
    done = train_on_drive(address, tmp_path / "model", config)
    assert done.frames == 4
    assert done.model.startswith("unet2d")
    assert train_on_drive(address, tmp_path / "next", config, initial=tmp_path / "model").steps == 6
    for workers in (1, 2):
        predict_drive(address, tmp_path / "model", tmp_path / str(workers), config, workers=workers)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "2")
    assert PredictionStore.open(tmp_path / "1").probabilities("00.image_2", "000001").shape == (64 * 27, 19)
    with pytest.raises(DataError, match=r"velodyne/000000\.bin: points of shape"):
        predict_drive(drive, tmp_path / "model", tmp_path / "other", config)


def test_walls_are_walls() -> None:
    """The pictures of these tests: neither class is rare, some pixels have no label."""
    for seed in range(5):
        _, raw = picture(seed)
        assert 0.1 < (raw == WALL).mean() < 0.5 < (raw == GROUND).mean() + 0.1
