# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The masked pretext task: what is hidden, what is asked, how wrong the answers are, and the score it gives units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pretrain_drives import TINY, pictures, scene_of, street

from lidal3d.config import Config
from lidal3d.errors import DataError
from lidal3d.jobs.signal_pretext import PretextSignal
from lidal3d.learn.pretrain.file import load_pretrained
from lidal3d.learn.pretrain.masks import blocks, hidden_by
from lidal3d.learn.pretrain.methods import method_named
from lidal3d.learn.pretrain.pretext import pretext_losses
from lidal3d.learn.pretrain.reconstruction import Answers, questions, range_bins
from lidal3d.learn.pretrain.train import pretrain
from lidal3d.predictions.maps import FrameMaps
from lidal3d.settings.masked import MaskedConfig

SPARSE, IMAGE = street(), pictures()
MASKS = MaskedConfig()
LEARN = TINY.updated({"pretrain": {"steps": 40, "learning_rate": 0.01}, "masked": {"hidden": 16}})
NONE = FrameMaps(np.empty((0, 0), np.float32))


@pytest.fixture(scope="module")
def sparse():  # type: ignore[no-untyped-def]
    losses: list[float] = []
    return pretrain(list(SPARSE), method_named("masked"), LEARN, lambda step, loss: losses.append(loss)), losses


@pytest.fixture(scope="module")
def image():  # type: ignore[no-untyped-def]
    losses: list[float] = []
    return pretrain(list(IMAGE), method_named("masked"), LEARN, lambda step, loss: losses.append(loss)), losses


# --- masks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [SPARSE[0].points(), IMAGE[0].points()], ids=["sparse", "image"])
def test_a_set_of_four_masks_hides_everything_once_and_whole_blocks(elements: np.ndarray) -> None:
    for first in (0, 4, 400):
        hidden = np.stack([hidden_by(elements, first + k, MASKS) for k in range(4)])
        assert (hidden.sum(axis=0) == 1).all()
        assert (hidden.sum(axis=1) > 0).all()
        for block in np.unique(blocks(elements, MASKS)):
            inside = hidden[:, blocks(elements, MASKS) == block]
            assert (inside == inside[:, :1]).all()
    sets = [np.stack([hidden_by(elements, 4 * s + k, MASKS) for k in range(4)]) for s in (0, 1)]
    assert not np.array_equal(*sets)
    assert np.array_equal(hidden_by(elements, 2, MASKS), sets[0][2])


def test_blocks_of_pictures_are_cells_and_those_of_sweeps_are_of_one_shape() -> None:
    pixels = IMAGE[0].points()
    of = blocks(pixels, MASKS)
    for block in np.unique(of):
        inside = pixels[of == block]
        assert np.ptp(inside[:, 0]) == np.ptp(inside[:, 1]) == 15
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-50, 50, (20_000, 2)), rng.uniform(-2, 2, (20_000, 2))]).astype(np.float32)
    of = blocks(points, MASKS)
    range_m = np.hypot(points[:, 0], points[:, 1])
    for block in np.unique(of)[::50]:
        inside = of == block
        assert range_m[inside].max() / range_m[inside].min() <= 1.1 + 1e-3
        turn = np.degrees(np.arctan2(points[inside, 1], points[inside, 0]))
        assert np.ptp(turn) <= 6 + 1e-3


# --- questions -----------------------------------------------------------------------------------------------------


def asked_of(scene, encoder, number: int = 1):  # type: ignore[no-untyped-def]
    frames = [scene[0].points(), scene[1].points()]
    hidden = [hidden_by(frame, number, MASKS) for frame in frames]
    return frames, hidden, questions(encoder, frames, hidden)


def test_of_sweeps_half_the_places_are_hidden_points_and_half_lie_in_front_of_them(sparse) -> None:  # type: ignore[no-untyped-def]
    encoder = sparse[0].encoder
    frames, hidden, asked = asked_of(SPARSE, encoder)
    both = np.concatenate(frames)
    left = np.concatenate([frame[~gone] for frame, gone in zip(frames, hidden, strict=True)])
    of = asked.tokenised.of.numpy()
    assert len(of) == len(left)  # the encoder sees nothing else
    assert sorted(asked.element.tolist()) == sorted(2 * np.flatnonzero(np.concatenate(hidden)).tolist())
    middle = np.stack([left[of == token, :3].astype(float).mean(axis=0) for token in range(of.max() + 1)])
    of_first = of[: (~hidden[0]).sum()].max() + 1
    truth, facts = asked.truth.numpy()[:, 0], asked.facts.numpy()
    assert set(truth.tolist()) == {0.0, 1.0}
    for q in range(0, len(truth), 37):
        point = both[asked.element[q], :3].astype(float)
        own = slice(0, of_first) if asked.element[q] < len(frames[0]) else slice(of_first, None)
        token = int(asked.token[q])
        place = point if truth[q] else point * asked.range_m[q] / np.hypot(point[0], point[1])
        if not truth[q]:
            nearer = np.linalg.norm(point) - np.linalg.norm(place)
            assert nearer == pytest.approx(np.clip(nearer, max(0.4, 0.0299 * np.linalg.norm(point)), None), abs=1e-3)
            assert nearer <= max(0.4, 0.12 * np.linalg.norm(point)) + 1e-3
        distance = np.linalg.norm(middle[own] - place, axis=1)
        assert np.linalg.norm(middle[token] - place) == pytest.approx(distance.min(), abs=1e-4)
        ahead = place[:2] / np.linalg.norm(place[:2])
        offset = place - middle[token]
        turned = [offset[:2] @ ahead, offset[:2] @ [-ahead[1], ahead[0]], offset[2], np.linalg.norm(offset)]
        np.testing.assert_allclose(facts[q], [*turned, place[2], np.hypot(*place[:2]) / 10], atol=1e-4)


def test_few_questions_are_evenly_spaced(sparse) -> None:  # type: ignore[no-untyped-def]
    frame = SPARSE[0].points()
    hidden = hidden_by(frame, 0, MASKS)
    asked = questions(sparse[0].encoder, [frame], [hidden], 10)
    rows = np.flatnonzero(hidden)
    assert asked.element[:10].tolist() == rows[np.arange(10) * len(rows) // 10].tolist()
    assert len(asked.truth) == 20


def test_of_pictures_every_hidden_token_has_its_colours(image) -> None:  # type: ignore[no-untyped-def]
    frames, hidden, asked = asked_of(IMAGE, image[0].encoder)
    batch = asked.tokenised.inputs.numpy()
    across = 96 // 8
    for frame, gone, picture in zip(frames, hidden, batch, strict=True):
        expected = np.where(gone[:, None], 0, frame[:, 2:] - 0.5).reshape(64, 96, 3)
        np.testing.assert_allclose(picture.transpose(1, 2, 0), expected, atol=1e-6)
    assert len(asked.token) == sum(gone.sum() for gone in hidden) / 64
    for q in range(0, len(asked.token), 5):
        picture, place = divmod(int(asked.token[q]), 8 * across)
        row, column = divmod(place, across)
        cell = frames[picture][:, 2:].reshape(64, 96, 3)[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        np.testing.assert_allclose(asked.truth[q].numpy(), cell.reshape(64, 3) - 0.5, atol=1e-6)


def test_what_lies_beyond_a_pictures_edge_is_not_asked(image) -> None:  # type: ignore[no-untyped-def]
    small = pictures(1, height=20, width=30)[0].points()
    asked = questions(image[0].encoder, [small], [np.ones(len(small), bool)])
    assert np.isfinite(asked.truth.numpy()).any(axis=2).sum() == 20 * 30
    features = torch.ones(12, image[0].encoder.dimensions, requires_grad=True)
    losses = image[0].head.losses(features, asked)
    corner = image[0].head.colours(features[11]).view(8, 8, 3)[:4, :6]
    at_corner = torch.from_numpy(small[:, 2:].reshape(20, 30, 3)[16:, 24:] - 0.5)
    assert losses[11].item() == pytest.approx(((corner - at_corner) ** 2).mean().item(), rel=1e-5)
    losses.sum().backward()
    assert torch.isfinite(features.grad).all()


# --- answers -------------------------------------------------------------------------------------------------------


def test_losses_by_hand(sparse, image) -> None:  # type: ignore[no-untyped-def]
    with torch.inference_mode():
        for scene, (trained, _) in ((SPARSE, sparse), (IMAGE, image)):
            _, _, asked = asked_of(scene, trained.encoder)
            features = trained.encoder(asked.tokenised)
            losses = trained.head.losses(features, asked).numpy()
            q = 3
            feature = features[asked.token[q]]
            if scene is SPARSE:
                p = torch.sigmoid(trained.head.occupied(torch.cat([feature, asked.facts[q]])))
                expected = -torch.log(p if asked.truth[q] else 1 - p)
            else:
                expected = ((trained.head.colours(feature).view(64, 3) - asked.truth[q]) ** 2).mean()
            assert losses[q] == pytest.approx(float(expected), rel=1e-4)


def test_the_usual_loss_of_a_range_is_a_running_mean() -> None:
    answers = Answers(4, 4)
    assert (answers.usual_at(np.array([3.0, 99.0], np.float32)) == 1).all()  # nothing is known yet
    range_m = np.array([2, 2, 12, 70], np.float32)
    answers.learn_usual(np.array([1.0, 3.0, 5.0, 8.0]), range_m, 0.5)
    np.testing.assert_allclose(answers.usual_at(range_m), [2, 2, 5, 8])
    assert answers.usual_at(np.array([7], np.float32))[0] == 5  # not seen: the mean of the others
    answers.learn_usual(np.array([4.0]), range_m[:1], 0.5)
    np.testing.assert_allclose(answers.usual_at(range_m), [3, 3, 5, 8])
    assert range_bins(np.array([0, 4.9, 5, 60, 1e3], np.float32)).tolist() == [0, 0, 1, 7, 7]


def test_training_learns_to_answer(sparse, image) -> None:  # type: ignore[no-untyped-def]
    for trained, losses in (sparse, image):
        assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.03
        assert torch.isfinite(trained.head.usual).any()
    again = pretrain(list(SPARSE), method_named("masked"), LEARN)
    for name, tensor in again.head.state_dict().items():
        assert torch.equal(tensor.nan_to_num(-1), sparse[0].head.state_dict()[name].nan_to_num(-1))


# --- the score -----------------------------------------------------------------------------------------------------


def test_an_elements_loss_is_the_mean_over_the_masks_that_hide_it(sparse, image) -> None:  # type: ignore[no-untyped-def]
    for scene, (trained, _) in ((SPARSE, sparse), (IMAGE, image)):
        elements = scene[2].points()
        found = pretext_losses(trained, elements, 8)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(pretext_losses(trained, elements, 8), found)
        sums = np.zeros(len(elements))
        for number in range(8):
            hidden = hidden_by(elements, number, MASKS)
            asked = questions(trained.encoder, [elements], [hidden])
            with torch.inference_mode():
                losses = trained.head.losses(trained.encoder(asked.tokenised), asked).double().numpy()
            losses = losses / trained.head.usual_at(asked.range_m)
            for one in np.flatnonzero(hidden)[::50]:
                about = asked.element == one
                if scene is IMAGE:
                    about = asked.token.numpy() == asked.tokenised.of.numpy()[one]
                sums[one] += losses[about].mean()
        for one in range(0, len(elements), 50):
            if sums[one]:
                hiding = sum(hidden_by(elements, number, MASKS)[one] for number in range(8))
                assert hiding == 2
        checked = np.flatnonzero(sums)
        twice = [one for one in checked if all(one in np.flatnonzero(hidden_by(elements, n, MASKS))[::50].tolist()
                                               for n in range(8) if hidden_by(elements, n, MASKS)[one])]  # fmt: skip
        assert len(twice)
        np.testing.assert_allclose(found[twice], sums[twice] / 2, rtol=1e-6)


def test_noise_is_harder_to_tell_than_what_goes_on(image) -> None:  # type: ignore[no-untyped-def]
    pixels = pictures(1, seed=5)[0].points().copy()
    noisy = (pixels[:, 0] >= 48) & (pixels[:, 1] >= 32)
    pixels[noisy, 2:] = np.random.default_rng(0).uniform(0, 1, (noisy.sum(), 3))
    losses = pretext_losses(image[0], pixels, 4)
    assert losses[noisy].mean() > 1.4 * losses[~noisy].mean()


def test_the_signal_gives_units_the_mean_of_their_elements(sparse, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    sparse[0].save(tmp_path)
    signal = PretextSignal.open(tmp_path, 4)
    frame, points = SPARSE[1], SPARSE[1].points()
    unit = np.random.default_rng(0).integers(-1, 6, len(points)).astype(np.int32)
    unit[unit == 3] = 2
    column = signal.of_units(frame, points, NONE, unit, 7).columns["pretext_loss"]
    losses = pretext_losses(load_pretrained(tmp_path), points, 4)
    expected = [losses[unit == one].mean() if (unit == one).any() else np.nan for one in range(7)]
    np.testing.assert_allclose(column, expected, rtol=1e-12)
    empty = signal.of_units(frame, points[:0], NONE, unit[:0], 0).columns["pretext_loss"]
    assert empty.shape == (0,)
    assert PretextSignal.open(tmp_path, 8).fingerprint != signal.fingerprint


# --- bad input -----------------------------------------------------------------------------------------------------


def test_other_encoders_and_other_frames_are_refused(sparse, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="no encoder there; make one with `lidal3d pretrain`"):
        PretextSignal.open(tmp_path / "nothing", 4)
    pretrain(list(SPARSE), method_named("barlow"), TINY).save(tmp_path / "barlow")
    with pytest.raises(DataError, match="an encoder of 'barlow' has no pretext loss; make one with `lidal3d pretrain"):
        PretextSignal.open(tmp_path / "barlow", 4)
    sparse[0].save(tmp_path / "masked")
    signal, pixels = PretextSignal.open(tmp_path / "masked", 4), IMAGE[0].points()
    with pytest.raises(DataError, match=r"000000.bin: a picture, and an encoder of sweeps"):
        signal.of_units(IMAGE[0], pixels, NONE, np.zeros(len(pixels), np.int32), 1)


def test_what_cannot_be_hidden_is_refused_or_unknown(sparse) -> None:  # type: ignore[no-untyped-def]
    empty = scene_of((np.empty((0, 4), np.float32),) * 2, np.tile(np.eye(4), (2, 1, 1)))
    with pytest.raises(DataError, match="nothing can be hidden in 2 frames"):
        pretrain(list(empty), method_named("masked"), LEARN)
    one = np.array([[5, 0, 0, 0.1]], np.float32)  # nothing is left to tell it from
    assert np.isnan(pretext_losses(sparse[0], one, 4)).all()
    broken = SPARSE[0].points().copy()
    broken[0, 0] = np.nan
    scene = scene_of((broken,), np.eye(4)[None])
    with pytest.raises(DataError, match=r"1 of .* points are not finite"):
        pretrain(list(scene), method_named("masked"), Config())
