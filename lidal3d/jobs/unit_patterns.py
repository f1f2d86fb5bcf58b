# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From the tokens of a frame to what its units are like: one embedding each, and up to K patterns.

A token counts for a unit as much as the share of its points or pixels that lie in it. Of these tokens the attention
filter keeps the most attended ones (in each tile by itself); the centres of their clusters are the patterns, and where no
more than K are left they are patterns themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.predictions.tokens import Tokens
from lidal3d.scores.attention_filter import attended
from lidal3d.select.kmeans import kmeans
from lidal3d.settings.geal import GealConfig

ITERATIONS = 100  # FreeSel's

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokensOfUnits:
    """Q pairs of a unit and a token of it, sorted by both.

    Attributes:
        first: (R + 1,) the pairs of unit r are first[r] to first[r + 1].
        token: (Q,).
        elements: (Q,) points or pixels of the token in the unit.
        share: (Q,) these as a share of the token's.
    """

    first: Int64
    token: Int64
    elements: Int64
    share: npt.NDArray[np.float64]

    @classmethod
    def of(cls, tokens: Tokens, unit: Int32, units: int) -> TokensOfUnits:
        """Of units (N,) of the points or pixels that `tokens.of` is of; what has no unit or token counts for none."""
        known = (tokens.of >= 0) & (unit >= 0)
        count = max(len(tokens.features), 1)
        pair, elements = np.unique(unit[known].astype(np.int64) * count + tokens.of[known], return_counts=True)
        token = pair % count
        all_elements = np.bincount(tokens.of[tokens.of >= 0], minlength=count)
        first = np.searchsorted(pair, np.arange(units + 1) * count)
        return cls(first.astype(np.int64), token, elements, elements / all_elements[token])

    def __iter__(self) -> Iterator[slice]:
        """The pairs of each unit."""
        return (slice(*ends) for ends in zip(self.first[:-1].tolist(), self.first[1:].tolist(), strict=True))


def embeddings(tokens: Tokens, pairs: TokensOfUnits) -> Float32:
    """(R, E) the mean over a unit's points or pixels of their tokens' features; NaN where none has a token."""
    result = np.full((len(pairs.first) - 1, tokens.features.shape[1]), np.nan, np.float32)
    for row, pair in enumerate(pairs):
        if pair.stop > pair.start:
            weight = pairs.elements[pair].astype(np.float64)
            result[row] = weight @ tokens.features[pairs.token[pair]] / weight.sum()
    return result


def patterns(tokens: Tokens, pairs: TokensOfUnits, most: int, config: GealConfig, seed: tuple[int, ...]) -> Float32:
    """(R, K, E) the patterns of units, padded with NaN.

    Args:
        most: K.
        seed: what clusters are drawn by, with the unit's number.
    """
    result = np.full((len(pairs.first) - 1, most, tokens.features.shape[1]), np.nan, np.float32)
    for row, pair in enumerate(pairs):
        if pair.stop > pair.start:
            token, share = pairs.token[pair], pairs.share[pair]
            kept = kept_tokens(tokens, token, share, config.kept)
            rng = np.random.default_rng((*seed, row))
            found = centers(tokens.features[token[kept]], share[kept], most, config.clusters, rng)
            result[row, : len(found)] = found
    return result


def kept_tokens(tokens: Tokens, token: Int64, share: npt.NDArray[np.float64], kept: float) -> npt.NDArray[np.bool_]:
    """(Q,) which tokens of a unit pass the attention filter; a unit's groups are filtered each by itself.

    Where all of a group are attended to alike, all pass.
    """
    attention = tokens.saliency[token] * share
    group = np.zeros(len(token), np.int64) if tokens.group is None else tokens.group[token]
    result = np.zeros(len(token), bool)
    for one in np.unique(group):
        inside = np.flatnonzero(group == one)
        saliency = tokens.saliency[token[inside]]
        if saliency.min() == saliency.max():
            # The encoder attends to all alike, or says nothing: which half would be dropped means nothing.
            result[inside] = True
            continue
        result[inside] = attended(attention[inside], kept, tokens.features[token[inside]])
    return result


def centers(
    features: Float32, weight: npt.NDArray[np.float64], most: int, clusters: str, rng: np.random.Generator
) -> Float32:
    """(≤ K, E) the weighted means of K clusters of features (Q, E), the heaviest first; the features where Q ≤ K.

    With "cosine", they are clustered at length one.
    """
    if len(features) <= most:
        return features
    label = np.zeros(len(features), np.int64)
    if most > 1:
        length = np.linalg.norm(features, axis=1, keepdims=True)
        seen = features / np.where(length > 0, length, 1) if clusters == "cosine" else features
        label = kmeans(seen, most, rng, ITERATIONS, weight=weight)[0]
    total = np.bincount(label, weight)
    sums = (label == np.arange(len(total))[:, None]) * weight @ features.astype(np.float64)
    there = np.argsort(-total, kind="stable")[: np.count_nonzero(total)]
    result: Float32 = (sums[there] / total[there, None]).astype(np.float32)
    return result
