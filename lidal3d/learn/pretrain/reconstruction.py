# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about what is hidden of a frame, and how wrong the answers are.

Of a sweep: is there something at this place? Half of the places are the hidden points, half lie on their rays in front
of them, where nothing can be; the feature of the nearest voxel that is left has to tell. Of a picture: which colours have
the hidden cells' pixels?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

from lidal3d.learn.pretrain.encoders import STRIDE, EncoderNetwork, Tokenised
from lidal3d.scene.pixels import is_picture

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

FACTS = 6  # of a place: its offset from the voxel (radial, sideways, up), their distance, its height and range
GREY = 0.5
IN_FRONT = (0.03, 0.12)  # of the distance to the sensor
LEAST_IN_FRONT_M = 0.4
RANGE_EDGES_M = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0)


@dataclass(frozen=True)
class Questions:
    """Q questions about some frames of which parts are hidden.

    Attributes:
        tokenised: what is left of the frames, as the encoder reads it.
        token: (Q,) int64 the token that has to answer.
        facts: (Q, FACTS) of places, or (Q, 0).
        truth: (Q, 1) whether something is there, or (Q, STRIDE², 3) colours, NaN beyond the picture's edges.
        element: (Q,) int64 which element of all frames, one after the other, each is about; −1 of a whole cell, whose
            elements are those of its token.
        range_m: (Q,) of the place from the sensor; 0 in pictures.
    """

    tokenised: Tokenised
    token: Tensor
    facts: Tensor
    truth: Tensor
    element: Int64
    range_m: Float32


class Answers(nn.Module):
    """What is trained beside the encoder: answers from a token's feature, and how wrong they usually are at a range.

    Attributes:
        usual: (B,) running mean of the loss in each of RANGE_EDGES_M's bins, NaN where none was seen.
    """

    usual: Tensor

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.occupied = nn.Sequential(
            nn.Linear(features + FACTS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )
        self.colours = nn.Linear(features, 3 * STRIDE**2)
        self.register_buffer("usual", torch.full((len(RANGE_EDGES_M) + 1,), torch.nan))

    def losses(self, features: Tensor, asked: Questions) -> Tensor:
        """(Q,) cross-entropy of places, mean squared error of colours; features (P, E) of the tokens."""
        answering = features.index_select(0, asked.token)
        if asked.facts.shape[1]:
            logit = self.occupied(torch.cat([answering, asked.facts], dim=1))
            return functional.binary_cross_entropy_with_logits(logit, asked.truth, reduction="none")[:, 0]
        told = self.colours(answering).view(-1, STRIDE**2, 3)
        inside = torch.isfinite(asked.truth).all(dim=2)
        # Not NaN · 0, which would be the gradient of what is masked only afterwards.
        error = ((told - asked.truth.nan_to_num()) ** 2).mean(dim=2) * inside
        return error.sum(dim=1) / inside.sum(dim=1)

    def learn_usual(self, losses: npt.NDArray[np.float64], range_m: Float32, rate: float) -> None:
        """Move `usual` towards the losses (Q,) of a step."""
        bins = range_bins(range_m)
        count = np.bincount(bins, minlength=len(self.usual))
        mean = torch.from_numpy(np.bincount(bins, losses, minlength=len(self.usual)) / np.maximum(count, 1)).to(
            self.usual
        )
        moved = torch.where(torch.isnan(self.usual), mean, self.usual + rate * (mean - self.usual))
        self.usual.copy_(torch.where(torch.from_numpy(count > 0).to(moved.device), moved, self.usual))

    def usual_at(self, range_m: Float32) -> npt.NDArray[np.float64]:
        """(Q,) the usual loss at a range; the mean of all bins where none was seen."""
        usual = self.usual.double().cpu().numpy()
        known = usual[np.isfinite(usual)]
        filled = np.where(np.isfinite(usual), usual, known.mean() if len(known) else 1.0)
        return np.asarray(np.maximum(filled, 1e-9)[range_bins(range_m)], np.float64)


def range_bins(range_m: Float32) -> Int64:
    """The bin of each range."""
    return np.searchsorted(np.array(RANGE_EDGES_M), range_m, side="right").astype(np.int64)


def questions(
    encoder: EncoderNetwork, frames: Sequence[Float32], hidden: Sequence[npt.NDArray[np.bool_]], most: int | None = None
) -> Questions:
    """All that can be asked of frames, (N_i, 4) points or (N_i, 5) pixels, of which a part (N_i,) is hidden.

    Args:
        encoder: only turns what is left into tokens.
        most: of a sweep's hidden points at most so many, evenly spaced; None asks about all.
    """
    pictures = is_picture(frames[0])
    return _of_pictures(encoder, frames, hidden) if pictures else _of_sweeps(encoder, frames, hidden, most)


def _of_sweeps(
    encoder: EncoderNetwork, frames: Sequence[Float32], hidden: Sequence[npt.NDArray[np.bool_]], most: int | None
) -> Questions:
    left = [np.ascontiguousarray(frame[~gone]) for frame, gone in zip(frames, hidden, strict=True)]
    tokenised = encoder.tokenised(left)
    of = tokenised.of.cpu().numpy()
    tokens, facts, truths, elements, ranges = [], [], [], [], []
    first_left = first = 0
    for frame, gone, seen in zip(frames, hidden, left, strict=True):
        asked = np.flatnonzero(gone) if len(seen) else np.empty(0, np.int64)
        if most is not None and len(asked) > most:
            asked = asked[np.arange(most) * len(asked) // most]
        places, there = _places(frame[asked, :3].astype(np.float64))
        token, offset = _nearest(of[first_left : first_left + len(seen)], seen[:, :3].astype(np.float64), places)
        tokens.append(token)
        facts.append(_facts(places, offset))
        truths.append(there)
        elements.append(first + np.concatenate([asked, asked]))
        ranges.append(np.hypot(places[:, 0], places[:, 1]))
        first_left, first = first_left + len(seen), first + len(frame)
    device = tokenised.of.device
    return Questions(
        tokenised, torch.from_numpy(np.concatenate(tokens)).to(device),
        torch.from_numpy(np.concatenate(facts).astype(np.float32)).to(device),
        torch.from_numpy(np.concatenate(truths).astype(np.float32)[:, None]).to(device),
        np.concatenate(elements), np.concatenate(ranges).astype(np.float32),
    )  # fmt: skip


def _places(xyz: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Places (2 n, 3) to ask about n points, themselves and in front of them, and whether something is there.

    How far in front is told by the point's own coordinates, so that the same point is always asked the same.
    """
    distance = np.linalg.norm(xyz, axis=1)
    share = IN_FRONT[0] + (IN_FRONT[1] - IN_FRONT[0]) * np.mod(1000 * np.abs(xyz).sum(axis=1), 1)
    nearer = np.minimum(np.maximum(share * distance, LEAST_IN_FRONT_M) / np.maximum(distance, 1e-6), 1)
    there = np.arange(2 * len(xyz)) < len(xyz)
    return np.concatenate([xyz, xyz * (1 - nearer)[:, None]]), there


def _nearest(
    of: Int64, xyz: npt.NDArray[np.float64], places: npt.NDArray[np.float64]
) -> tuple[Int64, npt.NDArray[np.float64]]:
    """The token (Q,) whose points' mean is nearest to each place, and the place's offset (Q, 3) from it."""
    if not len(places):
        return np.empty(0, np.int64), np.empty((0, 3))
    number, inverse, count = np.unique(of, return_inverse=True, return_counts=True)
    middle = np.stack([np.bincount(inverse, xyz[:, axis]) for axis in range(3)], axis=1) / count[:, None]
    nearest = cKDTree(middle).query(places)[1]
    return number[nearest].astype(np.int64), places - middle[nearest]


def _facts(places: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(Q, FACTS), in a frame that turns with the place: a sweep means the same when the car turns."""
    range_m = np.hypot(places[:, 0], places[:, 1])
    ahead = places[:, :2] / np.maximum(range_m, 1e-6)[:, None]
    radial = (offset[:, :2] * ahead).sum(axis=1)
    sideways = ahead[:, 0] * offset[:, 1] - ahead[:, 1] * offset[:, 0]
    apart = np.linalg.norm(offset, axis=1)
    return np.stack([radial, sideways, offset[:, 2], apart, places[:, 2], range_m / 10], axis=1)


def _of_pictures(
    encoder: EncoderNetwork, frames: Sequence[Float32], hidden: Sequence[npt.NDArray[np.bool_]]
) -> Questions:
    left = [frame.copy() for frame in frames]
    for frame, gone in zip(left, hidden, strict=True):
        frame[gone, 2:] = GREY
    tokenised = encoder.tokenised(left)
    gone, pixels = np.concatenate(list(hidden)), np.concatenate(list(frames))
    tokens, place = np.unique(tokenised.of.cpu().numpy()[gone], return_inverse=True)
    column, row = (pixels[gone, axis].astype(np.int64) % STRIDE for axis in (0, 1))
    truth = np.full((len(tokens), STRIDE**2, 3), np.nan, np.float32)
    truth[place, row * STRIDE + column] = pixels[gone, 2:] - GREY
    device, none = tokenised.of.device, np.zeros(len(tokens), np.float32)
    return Questions(
        tokenised, torch.from_numpy(tokens).to(device), torch.zeros(len(tokens), 0, device=device),
        torch.from_numpy(truth).to(device), np.full(len(tokens), -1, np.int64), none,
    )  # fmt: skip
