# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training with a loss head and with a mean teacher: what they learn, that they resume, and what is saved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_learn_jobs import GROUND, MAP, memory_scene, picture, settings, sweep, weights_of, write_drive

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.train import train_on_drive
from lidal3d.learn.checkpoint import CHECKPOINT_FILE, load_checkpoint
from lidal3d.learn.consistency import ConsistencyPart, WithUnlabelled
from lidal3d.learn.engine import engine
from lidal3d.learn.feeds import architecture_for, training_feed
from lidal3d.learn.model import HEADER_KEY, Model, load_model
from lidal3d.learn.networks import build
from lidal3d.learn.options import NOTHING_BESIDE, beside
from lidal3d.learn.processes import ALONE
from lidal3d.learn.sampler import Sampler
from lidal3d.learn.teacher import Teacher
from lidal3d.learn.train import Trainer, _item, no_labels, train
from lidal3d.scene.scene import Frame

CPU = torch.device("cpu")
HEAD = {"learning_loss": {"weight": 1.0, "hidden": 8, "held_out": 0.3}, "units": {"kind": "grid", "cell_m": 4.0}}
TEACHER = {"tod": {"weight": 0.5, "alpha": 0.9}}


def config_of(*extras: dict[str, object], **train_changes: object) -> Config:
    config = settings(**{"steps": 4, **train_changes})
    for extra in extras:
        config = config.updated(extra)
    return config


def frames_of(count: int = 5, points: int = 300) -> list[Frame]:
    return list(memory_scene(*(sweep(i, points) for i in range(count))))


def run(config: Config, frames: list[Frame] | None = None, **options: object) -> Model:
    frames = frames_of() if frames is None else frames
    return train(frames, MAP, config.train, beside=beside(config, frames), **options)  # type: ignore[arg-type]


def everything(model: Model) -> list[np.ndarray]:
    head = [] if model.loss_head is None else [t.numpy() for t in model.loss_head.head.state_dict().values()]
    return [*weights_of(model), *head]


def same(a: Model, b: Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(everything(a), everything(b), strict=True))


# --- off is off ----------------------------------------------------------------------------------------------------


def test_with_both_weights_0_nothing_is_learnt_beside_and_nothing_is_different() -> None:
    config = config_of({"learning_loss": {"hidden": 99}, "tod": {"alpha": 0.5}})
    assert beside(config, frames_of()) == NOTHING_BESIDE
    off, plain = run(config), train(frames_of(), MAP, config.train)
    assert same(off, plain)
    assert off.settings == plain.settings == config.train.model_dump()
    assert off.loss_head is None


def test_a_detached_head_leaves_the_network_as_it_would_be() -> None:
    config = config_of(HEAD, {"learning_loss": {"detach_after": 0.0, "held_out": 0}})
    model, plain = run(config), train(frames_of(), MAP, config.train)
    for with_head, without in zip(weights_of(model), weights_of(plain), strict=True):
        np.testing.assert_array_equal(with_head, without)
    attached = run(config.updated({"learning_loss": {"detach_after": 1.0}}))
    assert not all(np.array_equal(a, b) for a, b in zip(weights_of(attached), weights_of(plain), strict=True))


# --- resumed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extras", [(HEAD,), (TEACHER,), (HEAD, TEACHER)], ids=["head", "teacher", "both"])
def test_cut_off_at_any_step_all_comes_out_the_same(extras: tuple[dict[str, object], ...], tmp_path: Path) -> None:
    config = config_of(*extras, checkpoint_every=2, steps=4)
    whole = run(config)
    for stop_at in (2, 3):

        def stop(step: int, loss: float, stop_at: int = stop_at) -> None:
            if step == stop_at:
                raise InterruptedError

        folder = tmp_path / str(stop_at)
        with pytest.raises(InterruptedError):
            run(config, folder=folder, progress=stop)
        resumed = run(config, folder=folder)
        assert same(resumed, whole)
        assert resumed.loss_head is None or resumed.loss_head.held_out == whole.loss_head.held_out  # type: ignore[union-attr]


def test_a_checkpoint_of_a_training_without_a_head_is_refused(tmp_path: Path) -> None:
    run(config_of(checkpoint_every=2), folder=tmp_path)
    with pytest.raises(DataError, match="of another training"):
        run(config_of(HEAD, checkpoint_every=2), folder=tmp_path)


# --- Learning Loss -------------------------------------------------------------------------------------------------


def hard_and_easy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A low ground of one class, and a high one whose labels are drawn at random: there the model must be wrong."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-8, -8, -1.75, 0), (8, 8, -1.7, 1), size=(700, 4)).astype(np.float32)
    noisy = points[:, 0] > 0
    points[noisy, 2] += 1.0
    return points, np.where(noisy, rng.integers(1, 3, len(points)), GROUND).astype(np.uint32)


def test_a_head_learns_which_units_the_model_gets_wrong(tmp_path: Path) -> None:
    frames = list(memory_scene(*(hard_and_easy(i) for i in range(6))))
    config = config_of(HEAD, steps=40, learning_rate=0.01)
    model = run(config, frames)
    assert model.loss_head is not None
    found = model.loss_head.held_out
    assert found["by"] == "units"
    assert found["units"] > 15
    assert found["accuracy"] > 0.6
    assert found["spearman"] > 0.2
    model.save(tmp_path)
    again = load_model(tmp_path)
    assert again.loss_head is not None
    assert again.loss_head.held_out == found
    assert again.loss_head.to_dict() == model.loss_head.to_dict()
    assert same(again, model)


def test_what_is_held_out_is_not_learnt_from() -> None:
    config = config_of(HEAD, {"learning_loss": {"held_out": 0.5}}, steps=1)
    seen = {}

    def labels(frame: Frame) -> tuple[np.ndarray, None]:
        own = frame.labels()
        assert own is not None
        return own, None

    def other(frame: Frame) -> tuple[np.ndarray, None]:
        """Other labels in the units that are held out."""
        own = frame.labels()
        assert own is not None
        config_units = beside(config, []).partition
        assert config_units is not None
        unit = config_units(frame.points())
        from lidal3d.learn.loss_prediction.held_out import hold_out

        held = hold_out([(f.scene.id, f.index) for f in frames_of()], 0.5, False)
        out = held.units((frame.scene.id, frame.index), int(unit.max()) + 1)[unit]
        seen[frame.index] = float(out.mean())
        return np.where(out & (own != 255), 1 - own, own).astype(np.uint8), None

    first, second = run(config, labels=labels), run(config, labels=other)
    assert 0.2 < np.mean(list(seen.values())) < 0.8
    assert same(first, second)
    assert first.loss_head.held_out != second.loss_head.held_out  # type: ignore[union-attr]


def test_with_nothing_held_out_there_is_no_verdict() -> None:
    model = run(config_of(HEAD, {"learning_loss": {"held_out": 0}}))
    assert model.loss_head is not None
    assert model.loss_head.held_out == {"units": 0, "accuracy": None, "spearman": None, "by": "nothing"}


def test_whole_frames_need_two_a_step_and_learn() -> None:
    config = config_of(HEAD, {"units": {"kind": "frame"}}, batch=1)
    with pytest.raises(UsageError, match=r"train.batch is 1, .* --set train.batch=2"):
        run(config)
    model = run(config.updated({"train": {"batch": 2}}), frames_of(24, 120))
    assert model.loss_head is not None
    assert model.loss_head.kind == "frame"
    assert model.loss_head.held_out["units"] >= 5
    assert model.loss_head.held_out["accuracy"] is not None


@pytest.mark.parametrize("window", [0, 16])
def test_pictures_have_heads_and_teachers_too(window: int) -> None:
    superpixels = {"units": {"kind": "superpixels", "superpixels": 12}}
    config = config_of(HEAD, TEACHER, superpixels, steps=3, window_px=window)
    model = run(config, list(memory_scene(*(picture(i) for i in range(4)))))
    assert model.loss_head is not None
    assert model.loss_head.kind == "superpixels"
    assert model.loss_head.held_out["units"] >= 5
    assert all(np.isfinite(values).all() for values in everything(model))


def test_a_head_goes_on_from_the_last_one_where_it_fits() -> None:
    config = config_of(HEAD, {"learning_loss": {"weight": 1e-30}}, steps=1, learning_rate=1e-12)
    first = run(config)
    second = run(config.updated({"train": {"seed": 5}}), initial=first)
    other = run(config.updated({"learning_loss": {"hidden": 4}, "train": {"seed": 5}}), initial=first)
    assert first.loss_head is not None
    assert second.loss_head is not None
    assert other.loss_head is not None
    torch.testing.assert_close(second.loss_head.head.out.weight, first.loss_head.head.out.weight)
    assert other.loss_head.head.hidden == 4


def test_models_without_a_head_are_read_as_before_and_damaged_heads_refused(tmp_path: Path) -> None:
    run(config_of(HEAD)).save(tmp_path / "head")
    run(config_of()).save(tmp_path / "none")
    assert load_model(tmp_path / "none").loss_head is None
    path = tmp_path / "head" / "model.safetensors"
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER_KEY])
    for change, said in (
        (lambda h: h["loss_head"].update(channels=[1, 2]), "not a lidal3d model's"),
        (lambda h: h["loss_head"].pop("hidden"), "not a lidal3d model's"),
        (lambda h: h["loss_head"].update(hidden=5), "loss_head/.* has shape"),
        (lambda h: h.pop("loss_head"), "has the tensor 'loss_head/"),
    ):
        told = json.loads(json.dumps(header))
        change(told)
        save_file(tensors, path, metadata={HEADER_KEY: json.dumps(told)})
        with pytest.raises(DataError, match=said) as error:
            load_model(path)
        assert "\n" not in str(error.value)


def test_a_drive_is_trained_on_with_a_head_and_a_teacher(tmp_path: Path) -> None:
    drive = write_drive(tmp_path / "drive")
    config = config_of(HEAD, TEACHER, steps=3)
    trained = train_on_drive(drive, tmp_path / "m", config)
    model = load_model(trained.path)
    assert model.loss_head is not None
    assert model.loss_head.units == config.units.model_dump()
    assert model.settings["tod"]["weight"] == 0.5
    assert model.settings["tod"]["frames"] >= trained.frames


# --- the mean teacher ----------------------------------------------------------------------------------------------


def test_each_training_starts_its_teacher_anew() -> None:
    network = build(architecture_for(MAP, settings().train), 0)
    part = ConsistencyPart(network, 0.5, 0.9)
    for name, tensor in part.teacher.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    assert not dict(part.named_parameters())


def test_the_teacher_follows_each_step_of_a_training() -> None:
    config = config_of(TEACHER).train
    frames = frames_of()
    with engine("cpu", "float32", ALONE) as run_:
        network = build(architecture_for(MAP, config), 0)
        part = ConsistencyPart(network, 0.5, 0.9)
        by_hand = Teacher(network, 0.9)
        trainer = Trainer(run_, network, torch.ones(2), config, [part])
        feed = training_feed(architecture_for(MAP, config), config)
        rng = np.random.default_rng(0)
        sampler = Sampler(5, lambda i: _item(frames[i], None, feed), feed, 2, 2, rng, CPU)
        for number in range(1, 4):
            trainer.step(sampler.next(), number, 0.01)
            by_hand.follow(network, number)
    for name, tensor in part.teacher.network.state_dict().items():
        assert torch.equal(tensor, by_hand.network.state_dict()[name])
        assert tensor.is_floating_point() is False or torch.isfinite(tensor).all()


def test_consistency_changes_the_weights_and_its_weight_counts() -> None:
    plain, some, more = (run(config_of({"tod": {"weight": w}})) for w in (0.0, 0.5, 2.0))
    assert not same(plain, some)
    assert not same(some, more)


def test_every_frame_is_looked_at_once_before_any_is_again() -> None:
    config = settings(batch=2).train
    seen: list[int] = []
    frames = frames_of(5)
    feed = training_feed(architecture_for(MAP, config), config)

    def read(index: int):  # type: ignore[no-untyped-def]
        seen.append(index)
        return _item(frames[index], no_labels, feed)

    def source(done: int) -> WithUnlabelled:
        rng = np.random.default_rng(0)
        labelled = Sampler(5, lambda i: _item(frames[i], None, feed), feed, 2, 2, rng, CPU)
        return WithUnlabelled(labelled, 5, read, feed, 2, 7, done, CPU, ALONE.share)

    whole = source(0)
    batches = [whole.next() for _ in range(5)]
    assert len(seen) == 10
    assert sorted(seen[:5]) == sorted(seen[5:]) == list(range(5))
    assert all(batch.other is not None for batch in batches)
    later = source(3).next()
    assert torch.equal(later.other[0], batches[3].other[0])  # type: ignore[index]


def test_the_teacher_stands_in_the_checkpoint(tmp_path: Path) -> None:
    run(config_of(TEACHER, checkpoint_every=2), folder=tmp_path)
    names = set(load_file(tmp_path / CHECKPOINT_FILE))
    assert any(name.startswith("beside/0/teacher/") and name.endswith("running_mean") for name in names)
    assert load_checkpoint(tmp_path / "elsewhere", "") is None
