# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training and prediction, from frames in memory and from a drive on disk."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.predict import default_workers, predict_drive
from lidal3d.jobs.train import train_on_drive
from lidal3d.learn.evaluate import accuracy, confusion_matrix
from lidal3d.learn.loss import weighted_cross_entropy
from lidal3d.learn.model import Model, load_model
from lidal3d.learn.predict import frame_rng, predict_points
from lidal3d.learn.train import train
from lidal3d.predictions.store import PredictionStore
from lidal3d.scene.labels import LabelMap
from lidal3d.scene.pixels import COLUMNS
from lidal3d.scene.scene import CameraImage, Frame, Scene

MAP = LabelMap("tiny", ("ground", "wall"), ((0, 0, 0), (1, 1, 1)), {0: 255, 1: 0, 2: 1}, (1, 2))
GROUND, WALL, RAW_IGNORED = 1, 2, 0


def sweep(seed: int, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """A flat ground and a wall across it: points (N, 4) and raw labels (N,)."""
    rng = np.random.default_rng(seed)
    ground = rng.uniform((-8, -8, -1.75, 0.1), (8, 8, -1.7, 0.2), size=(count // 2, 4))
    wall = rng.uniform((5, -8, -1.5, 0.6), (5.1, 8, 1.5, 0.8), size=(count - count // 2, 4))
    labels = np.repeat([GROUND, WALL], [len(ground), len(wall)]).astype(np.uint32)
    labels[::17] = RAW_IGNORED
    return np.concatenate([ground, wall]).astype(np.float32), labels


@dataclass
class MemorySource:
    sweeps: list[tuple[np.ndarray, np.ndarray | None]]
    reads: list[int] = field(default_factory=list)

    def points_path(self, index: int) -> Path:
        return Path(f"memory/{index:06}.bin")

    def labels_path(self, index: int) -> Path | None:
        return None if self.sweeps[index][1] is None else Path(f"memory/{index:06}.label")

    def read_points(self, index: int) -> np.ndarray:
        self.reads.append(index)
        return self.sweeps[index][0]

    def read_labels(self, index: int) -> np.ndarray | None:
        return self.sweeps[index][1]

    def read_instances(self, index: int) -> None:
        return None

    def images(self, index: int) -> tuple[CameraImage, ...]:
        return ()


def picture(seed: int, width: int = 45, height: int = 33) -> tuple[np.ndarray, np.ndarray]:
    """A wall on a ground that is as bright, each with noise: pixels (N, 5) and raw labels (N,)."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:height, :width]
    left, top = rng.integers(0, width // 2), rng.integers(0, height // 2)
    is_wall = (column >= left) & (column < left + width // 2) & (row >= top) & (row < top + height // 2)
    colors = np.where(is_wall[..., None], (0.7, 0.4, 0.3), (0.3, 0.4, 0.7)) + rng.normal(0, 0.1, (height, width, 3))
    labels = np.where(is_wall, WALL, GROUND).astype(np.uint32)
    labels[::7, ::5] = RAW_IGNORED
    pixels = np.column_stack([column.ravel(), row.ravel(), colors.clip(0, 1).reshape(-1, 3)])
    return pixels.astype(np.float32), labels.ravel()


def memory_scene(*sweeps: tuple[np.ndarray, np.ndarray | None]) -> Scene:
    count = len(sweeps)
    names = tuple(f"{i:06}" for i in range(count))
    poses = np.tile(np.eye(4), (count, 1, 1))
    times = np.arange(count, dtype=np.int64)
    sensor = "camera" if sweeps[0][0].shape[1] == COLUMNS else "lidar"
    source = MemorySource([*sweeps])
    return Scene("s", "memory", Path("memory"), names, times, poses, np.ones(count, bool), MAP, source, sensor)


def settings(**train_changes: object) -> Config:
    small = {"width": 0.125, "voxel_m": 0.5, "steps": 12, "batch": 2, "learning_rate": 0.01}
    return Config().updated({"train": {**small, **train_changes}, "predict": {"views": 3}})


def weights_of(model: Model) -> list[np.ndarray]:
    return [t.numpy() for t in model.network.state_dict().values()]


@pytest.fixture(scope="module")
def model() -> Model:
    scene = memory_scene(*(sweep(i) for i in range(4)))
    return train(list(scene), MAP, settings(steps=25).train)


def test_training_learns_ground_from_wall(model: Model) -> None:
    points, raw = sweep(99)
    probabilities, _ = predict_points(model, points, 4, np.random.default_rng(0))
    confusion = confusion_matrix(MAP.to_train(raw), probabilities.argmax(1), 2)
    assert accuracy(confusion) > 0.95


def test_training_is_the_same_twice_and_another_with_another_seed() -> None:
    scene = memory_scene(*(sweep(i) for i in range(3)))
    losses: list[list[float]] = [[], [], []]
    models = [
        train(
            list(scene), MAP, settings(steps=4, seed=seed).train, progress=lambda _, loss, kept=kept: kept.append(loss)
        )
        for seed, kept in zip((7, 7, 8), losses, strict=True)
    ]
    assert losses[0] == losses[1] != losses[2]
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(models[0]), weights_of(models[1]), strict=True))
    assert len(losses[0]) == 4


def test_frames_without_a_labelled_point_are_passed_over_and_never_nan() -> None:
    points, raw = sweep(0)
    scene = memory_scene((points, raw), *((points, np.full_like(raw, RAW_IGNORED)) for _ in range(4)))
    losses: list[float] = []
    trained = train(list(scene), MAP, settings(batch=1, steps=8).train, progress=lambda _, loss: losses.append(loss))
    assert len(losses) == 8
    assert np.isfinite(losses).all()
    assert all(np.isfinite(w).all() for w in weights_of(trained))


@pytest.mark.parametrize("changes", [{"max_range_m": 60}, {"max_range_m": 0.001}])
def test_training_on_no_label_at_all_says_so(changes: dict[str, float]) -> None:
    points, raw = sweep(0)
    if changes["max_range_m"] > 1:
        raw = np.full_like(raw, RAW_IGNORED)
    with pytest.raises(DataError, match="no labelled point within"):
        train(list(memory_scene((points, raw))), MAP, settings(**changes).train)


def test_training_copes_with_sweeps_of_no_and_one_point() -> None:
    one = (np.array([[1, 2, 0, 0.5]], np.float32), np.array([GROUND], np.uint32))
    none = (np.zeros((0, 4), np.float32), np.zeros(0, np.uint32))
    trained = train(list(memory_scene(one, none)), MAP, settings(steps=3, batch=1).train)
    assert all(np.isfinite(w).all() for w in weights_of(trained))


def test_labels_from_elsewhere_are_learnt_instead() -> None:
    def swapped(frame: Frame) -> tuple[np.ndarray, None]:
        return np.array([1, 0] + [255] * 254, np.uint8)[frame.labels()], None

    scene = memory_scene(sweep(0), sweep(1))
    trained = train(list(scene), MAP, settings(steps=25).train, labels=swapped)
    points, raw = sweep(5)
    probabilities, _ = predict_points(trained, points, 4, np.random.default_rng(0))
    used = raw != RAW_IGNORED
    assert (probabilities.argmax(1) == 2 - raw)[used].mean() > 0.95


def test_a_weight_of_zero_is_a_mask() -> None:
    def masked(frame: Frame) -> tuple[np.ndarray, None]:
        labels = frame.labels()
        assert labels is not None
        labels[::3] = 255
        return labels, None

    def weightless(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        labels = frame.labels()
        assert labels is not None
        weights = np.ones(len(labels), np.float32)
        weights[::3] = 0
        return labels, weights

    frames = list(memory_scene(sweep(0), sweep(1)))
    one, same = (train(frames, MAP, settings(steps=3).train, labels=source) for source in (masked, weightless))
    other = train(frames, MAP, settings(steps=3).train)
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(one), weights_of(same), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True))


def test_a_label_mask_of_the_wrong_length_names_both_numbers() -> None:
    scene = memory_scene(sweep(0))
    with pytest.raises(DataError, match=r"10 labels, but memory/000000\.bin has 600 points"):
        train(list(scene), MAP, settings().train, labels=lambda frame: (np.zeros(10, np.uint8), None))


def test_training_starts_from_a_given_model(model: Model) -> None:
    scene = memory_scene(sweep(0))
    first: list[float] = []
    train(list(scene), MAP, settings(steps=1).train, initial=model, progress=lambda _, loss: first.append(loss))
    fresh: list[float] = []
    train(list(scene), MAP, settings(steps=1).train, progress=lambda _, loss: fresh.append(loss))
    assert first[0] < fresh[0]


def test_cross_entropy_is_the_weighted_mean_over_labelled_voxels() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((6, 3))
    targets = np.array([0, 2, 255, 1, 2, 255])
    weights = rng.uniform(0.1, 1, 6)
    class_weights = np.array([1.0, 2.0, 0.5])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    used = np.flatnonzero(targets != 255)
    w = np.array([weights[i] * class_weights[targets[i]] for i in used])
    expected = sum(-w[n] * log_p[i, targets[i]] for n, i in enumerate(used)) / w.sum()
    found = weighted_cross_entropy(*map(torch.from_numpy, (logits, targets, weights, class_weights)))
    assert float(found) == pytest.approx(expected)
    nothing = weighted_cross_entropy(
        torch.from_numpy(logits), torch.full((6,), 255), torch.ones(6), torch.from_numpy(class_weights)
    )
    assert float(nothing) == 0.0


@pytest.mark.parametrize("views", [1, 3])
def test_every_point_gets_probabilities_also_far_ones_and_doubles(model: Model, views: int) -> None:
    points, _ = sweep(3)
    points = np.concatenate([points, points[:5], [[900, -900, 30, 0.5]]]).astype(np.float32)
    probabilities, features = predict_points(model, points, views, np.random.default_rng(0), features=True)
    assert probabilities.shape == (len(points), 2)
    assert features is not None
    assert features.shape == (len(points), 12)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(probabilities[:5], probabilities[600:605])


def test_a_sweep_of_no_points_gets_no_rows(model: Model) -> None:
    probabilities, features = predict_points(model, np.zeros((0, 4), np.float32), 2, np.random.default_rng(0))
    assert probabilities.shape == (0, 2)
    assert features is None


def test_views_are_averaged_softmax(model: Model) -> None:
    points, _ = sweep(3)
    together, _ = predict_points(model, points, 3, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    from lidal3d.learn.augment import AUGMENTATIONS
    from lidal3d.learn.batch import network_input

    singles = []
    for _ in range(3):
        matrix = AUGMENTATIONS[model.augmentation].draw(rng)
        view = np.concatenate([points[:, :3] @ matrix.T, points[:, 3:]], axis=1).astype(np.float32)
        data = network_input([torch.from_numpy(view)], model.voxel_m)
        with torch.no_grad():
            logits, _ = model.network(data.features, data.voxels.keys)
        singles.append(torch.softmax(logits, 1)[data.voxels.point_voxel].numpy())
    np.testing.assert_allclose(together, np.mean(singles, axis=0), atol=1e-3)


def test_views_depend_on_seed_scene_and_frame_alone() -> None:
    draws = {key: frame_rng(*key).random() for key in ((0, "a", "1"), (1, "a", "1"), (0, "b", "1"), (0, "a", "2"))}
    assert len(set(draws.values())) == 4
    assert frame_rng(0, "a", "1").random() == draws[0, "a", "1"]
    assert frame_rng(0, "a1", "").random() != frame_rng(0, "a", "1").random()


def write_drive(root: Path, frames: int = 4, labelled: int = 2) -> Path:
    """A SemanticKITTI layout of one sequence whose raw ids are road (40) and building (50)."""
    folder = root / "sequences" / "00"
    for name in ("velodyne", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    identity = "1 0 0 0 0 1 0 0 0 0 1 0"
    (folder / "calib.txt").write_text("".join(f"{k}: {identity}\n" for k in ("P0", "P1", "P2", "P3", "Tr")))
    (folder / "poses.txt").write_text("".join(f"1 0 0 {i} 0 1 0 0 0 0 1 0\n" for i in range(frames)))
    (folder / "times.txt").write_text("".join(f"{0.1 * i:.6e}\n" for i in range(frames)))
    for i in range(frames):
        points, raw = sweep(i)
        points.tofile(folder / "velodyne" / f"{i:06}.bin")
        if i < labelled:
            np.array([0, 40, 50], np.uint32)[raw].tofile(folder / "labels" / f"{i:06}.label")
    return root


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drive(tmp_path_factory.mktemp("drive"))


@pytest.fixture(scope="module")
def model_folder(drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train_on_drive(drive, folder, settings())
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_train_on_drive_takes_the_labelled_frames(drive: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []
    trained = train_on_drive(drive, tmp_path, settings(steps=3), progress=lambda s, loss: seen.append((s, loss)))
    assert (trained.frames, trained.steps) == (2, 3)
    assert [s for s, _ in seen] == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "model.safetensors"]
    assert len(load_model(tmp_path).classes) == 19
    one = train_on_drive(drive, tmp_path, settings(steps=1), frames=["00/000001"])
    assert one.frames == 1


def test_train_on_drive_refuses_what_is_not_there(drive: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no frame '00/000009' among its 4"):
        train_on_drive(drive, tmp_path / "m", settings(), frames=["00/000009"])
    with pytest.raises(UsageError, match="no scene '07' among its 1"):
        train_on_drive(drive, tmp_path / "m", settings(), scenes=["07"])
    with pytest.raises(DataError, match=r"000003: no labels"):
        train_on_drive(drive, tmp_path / "m", settings(), frames=["00/000003"])
    with pytest.raises(DataError, match="0 of 2 frames have labels"):
        train_on_drive(write_drive(tmp_path / "bare", frames=2, labelled=0), tmp_path / "m", settings())
    assert not (tmp_path / "m").exists()


def test_predict_drive_writes_every_frame_alike_in_any_order(drive: Path, model_folder: Path, tmp_path: Path) -> None:
    config = settings()
    progress: list[tuple[int, int]] = []
    done = predict_drive(drive, model_folder, tmp_path / "all", config, progress=lambda *p: progress.append(p))
    assert (done.written, done.kept, done.failed) == (4, 0, 0)
    assert progress == [(i, 4) for i in range(1, 5)]
    store = PredictionStore.open(tmp_path / "all")
    assert (len(store.classes), store.views) == (19, 3)
    for i in range(4):
        probabilities = store.probabilities("00", f"{i:06}", points=600)
        assert probabilities.dtype == np.float16
        np.testing.assert_allclose(probabilities.astype(np.float32).sum(1), 1, atol=5e-3)
    predict_drive(drive, model_folder, tmp_path / "some", config, frames=["00/000003", "00/000001"])
    predict_drive(drive, model_folder, tmp_path / "some", config, frames=["00/000002"])
    predict_drive(drive, model_folder, tmp_path / "some", config, workers=2)
    assert bytes_of(tmp_path / "some") == bytes_of(tmp_path / "all")


def test_any_number_of_workers_writes_the_same_bytes(drive: Path, model_folder: Path, tmp_path: Path) -> None:
    predict_drive(drive, model_folder, tmp_path / "one", settings(), workers=1)
    predict_drive(drive, model_folder, tmp_path / "two", settings(), workers=2)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_workers_are_started_only_for_enough_frames() -> None:
    assert default_workers(1, "cpu") == default_workers(0, "cpu") == default_workers(500, "cuda") == 1
    assert 1 <= default_workers(500, "cpu") <= (os.cpu_count() or 1)


def test_an_interrupted_prediction_continues(drive: Path, model_folder: Path, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        predict_drive(drive, model_folder, tmp_path / "a", settings(), progress=kill)
    assert not (tmp_path / "a" / "predictions.yaml").exists()
    done = predict_drive(drive, model_folder, tmp_path / "a", settings())
    assert (done.written, done.kept) == (2, 2)
    predict_drive(drive, model_folder, tmp_path / "b", settings())
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_predictions_of_other_settings_are_replaced(drive: Path, model_folder: Path, tmp_path: Path) -> None:
    predict_drive(drive, model_folder, tmp_path / "a", settings())
    changed = settings().updated({"predict": {"views": 1, "features": True, "dtype": "float32"}})
    done = predict_drive(drive, model_folder, tmp_path / "a", changed, frames=["00/000000"])
    assert (done.written, done.kept) == (1, 0)
    assert [p.name for p in (tmp_path / "a" / "probabilities" / "00").iterdir()] == ["000000.npy"]
    assert done.store.features("00", "000000").shape == (600, 12)
    assert done.store.features("00", "000000").dtype == np.float32


def test_predictions_of_somebody_else_are_not_touched(drive: Path, model_folder: Path, tmp_path: Path) -> None:
    theirs = PredictionStore(tmp_path, ("x",))
    theirs.write("00", "000000", np.ones((600, 1), np.float16))
    theirs.write_header()
    before = bytes_of(tmp_path)
    with pytest.raises(DataError, match="did not write"):
        predict_drive(drive, model_folder, tmp_path, settings())
    assert bytes_of(tmp_path) == before


def test_a_damaged_sweep_stops_or_is_noted(model_folder: Path, tmp_path: Path) -> None:
    drive = write_drive(tmp_path / "drive")
    bad = drive / "sequences" / "00" / "velodyne" / "000002.bin"
    points, _ = sweep(2)
    points[3, 3] = np.inf
    points.tofile(bad)
    with pytest.raises(DataError, match=r"000002\.bin"):
        predict_drive(drive, model_folder, tmp_path / "p", settings())
    assert not (tmp_path / "p" / "predictions.yaml").exists()
    done = predict_drive(drive, model_folder, tmp_path / "p", settings(), keep_going=True)
    assert (done.written, done.kept, done.failed) == (1, 2, 1)
    (line,) = (tmp_path / "p" / "failed.jsonl").read_text().splitlines()
    assert json.loads(line)["frame"] == "000002"
    sweep(2)[0].tofile(bad)
    done = predict_drive(drive, model_folder, tmp_path / "p", settings())
    assert (done.written, done.kept, done.failed) == (1, 3, 0)
    assert not (tmp_path / "p" / "failed.jsonl").exists()


def test_a_model_of_other_classes_than_the_drive_is_refused(drive: Path, model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    with pytest.raises(DataError, match=r"2 classes.* 19"):
        predict_drive(drive, tmp_path / "m", tmp_path / "p", settings())
    assert not (tmp_path / "p").exists()
