# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens of encoders that learnt without labels."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pretrain_drives import TINY, pictures, street, with_points  # noqa: E402

from lidal3d.errors import DataError, UsageError  # noqa: E402
from lidal3d.learn.encoders import open_encoder  # noqa: E402
from lidal3d.learn.pretrain.methods import method_named  # noqa: E402
from lidal3d.learn.pretrain.train import pretrain  # noqa: E402

SPARSE, IMAGE = street(), pictures()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("encoders")
    for name, scene in (("sparse", SPARSE), ("image", IMAGE)):
        pretrain(list(scene), method_named("barlow"), TINY).save(made / name)
    return made


def test_a_sweeps_tokens_are_voxels_and_the_ground_is_not_salient(folder: Path) -> None:
    points = SPARSE[0].points()
    tokens = open_encoder(folder / "sparse").tokens(SPARSE[0], points)
    assert len(tokens.of) == len(points)
    assert (tokens.of >= 0).all()
    assert len(np.unique(tokens.of)) == len(tokens.features) == len(tokens.saliency)
    high = np.unique(tokens.of[points[:, 2] > 0])
    low = np.setdiff1d(np.unique(tokens.of[points[:, 2] < -1.6]), np.unique(tokens.of[points[:, 2] > -1.6]))
    assert np.allclose(tokens.saliency[high], np.linalg.norm(tokens.features[high], axis=1))
    assert (tokens.saliency[low] == 0).mean() > 0.9


def test_a_pictures_tokens_are_cells(folder: Path) -> None:
    points = IMAGE[0].points()
    tokens = open_encoder(folder / "image").tokens(IMAGE[0], points)
    assert np.array_equal(tokens.of, points[:, 1] // 8 * 12 + points[:, 0] // 8)
    assert tokens.features.shape == (8 * 12, TINY.pretrain.channels)
    assert (tokens.saliency == 1).all()


def test_an_encoder_survives_pickling_and_says_the_same(folder: Path) -> None:
    encoder = open_encoder(folder / "sparse")
    before = encoder.tokens(SPARSE[1], SPARSE[1].points())
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 2000
    again = pickle.loads(pickled)
    assert (again.fingerprint, again.name) == (encoder.fingerprint, encoder.name)
    assert again.fingerprint != open_encoder(folder / "image").fingerprint
    assert np.array_equal(again.tokens(SPARSE[1], SPARSE[1].points()).features, before.features)


def test_no_points_have_no_tokens_of_the_usual_width(folder: Path) -> None:
    empty = np.empty((0, 4), np.float32)
    scene = with_points(SPARSE, 0, empty)
    tokens = open_encoder(folder / "sparse").tokens(scene[0], empty)
    assert tokens.features.shape == (
        0,
        open_encoder(folder / "sparse").tokens(SPARSE[0], SPARSE[0].points()).features.shape[1],
    )


def test_what_it_cannot_read_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no encoder; make one with `lidal3d pretrain`"):
        open_encoder(tmp_path)
    with pytest.raises(UsageError, match="an encoder of sweeps, but scene 00 has pictures"):
        open_encoder(folder / "sparse").tokens(IMAGE[0], IMAGE[0].points())
    with pytest.raises(UsageError, match="an encoder of pictures, but scene 00 has sweeps"):
        open_encoder(folder / "image").tokens(SPARSE[0], SPARSE[0].points())
    broken = SPARSE[0].points().copy()
    broken[0, 0] = np.inf
    with pytest.raises(DataError, match=r"000000.bin: points that are not finite"):
        open_encoder(folder / "sparse").tokens(SPARSE[0], broken)


def test_twists_readouts_are_the_losss_own_terms() -> None:
    from lidal3d.learn.pretrain.losses import twist_terms
    from lidal3d.learn.pretrain.readouts import twist_readouts
    from lidal3d.learn.pretrain.views import View, random_view

    trained = pretrain(list(SPARSE), method_named("twist"), TINY)
    points = SPARSE[0].points()
    unit = np.where(points[:, 0] > 0, 0, 1).astype(np.int32)
    unit[:50] = -1
    said = twist_readouts(trained, points, unit, 3, np.random.default_rng(5))
    assert said.cluster[2] == -1
    assert np.isnan([said.instability[2], said.ambiguity[2]]).all()
    # By hand: means over the points of a unit, the head, and two views drawn alike.
    rng = np.random.default_rng(5)
    views = [View(points, unit), *(random_view(View(points, unit), TINY.pretrain, rng) for _ in range(2))]
    logits = []
    with torch.inference_mode():
        for view in views:
            tokenised = trained.encoder.tokenised([view.elements])
            features = trained.encoder(tokenised)[tokenised.of].numpy()
            means = np.stack([features[view.region == r].mean(axis=0) for r in range(2)])
            logits.append(trained.head(torch.from_numpy(means)))
    for r in range(2):
        p = torch.softmax(logits[0][r], dim=0)
        assert said.cluster[r] == int(p.argmax())
        assert said.ambiguity[r] == pytest.approx(-float((p * torch.log(p + 1e-5)).sum()), abs=1e-5)
        terms = twist_terms(logits[1][r : r + 1], logits[2][r : r + 1])
        assert said.instability[r] == pytest.approx(float(terms.consistency), abs=1e-5)
    assert twist_readouts(trained, points[:0], unit[:0], 2, rng).cluster.tolist() == [-1, -1]
    other = pretrain(list(SPARSE), method_named("barlow"), TINY)
    with pytest.raises(UsageError, match=r"latent classes are TWIST's, this encoder is barlow's"):
        twist_readouts(other, points, unit, 3, rng)
