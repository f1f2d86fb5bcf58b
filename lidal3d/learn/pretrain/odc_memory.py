# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of online deep clustering: a feature and a pseudo-label for every sample, K centroids, and five rules.

Zhan et al., "Online Deep Clustering for Unsupervised Representation Learning", CVPR 2020, as its released code does it:

    bank        F_i ← norm((1 − m) F_i + m norm(f_i)) after each forward
    labels      y_i ← argmax_k ⟨C_k, F_i⟩; what the network is taught is the label from before
    weights     w_k ∝ (n_k + 1e-5)^−0.5 of the cross-entropy; 0 for empty clusters, which would swallow the sum
    centroids   C_k = mean of the members' features (not of unit length), anew every 10 iterations
    small       a cluster of fewer than `min_cluster` samples is dissolved into the nearest other ones every iteration,
                and its number goes to one half of the largest cluster, split by 2-means

Samples are whatever the caller numbers: sightings of tracks for ODCT (`lidal3d.learn.pretrain.track_vote`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lidal3d.errors import DataError
from lidal3d.select.kmeans import kmeans

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

POWER, ADDED = -0.5, 1e-5
Vote = Callable[[Float32, Float64, Int64, Int64], Int64]
"""(bank (N, D), centroids (K, D), labels (N,), the samples just seen (B,)) -> labels (N,)."""


def unit(features: npt.NDArray[np.floating]) -> Float32:
    """Features (…, D) of length one; zeros stay zeros."""
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-10), np.float32)


def class_weights(labels: Int64, clusters: int) -> Float64:
    """(K,) (n_k + 1e-5)^−0.5, 0 for empty clusters, of mean 1 over the samples."""
    count = np.bincount(labels, minlength=clusters)
    weight = np.where(count > 0, (count + ADDED) ** POWER, 0.0)
    return np.asarray(weight * len(labels) / max((weight * count).sum(), ADDED), np.float64)


class OdcMemory:
    """N samples in K clusters. Everything random comes from `rng`, drawn at the start and when a cluster is split.

    Attributes:
        bank: (N, D) float32 features of length one.
        labels: (N,) int64 pseudo-labels, 0 … K − 1.
        centroids: (K, D) float64.
        iterations: how often it was updated.

    Args:
        features: (N, D) of all samples at the start.
        clusters: K.
        rng: the only source of chance.
        min_cluster: smaller clusters are dissolved.
        momentum: m, what a new feature counts.
        refresh_every: iterations from one computation of all centroids to the next.
        vote: changes labels after those of the samples seen, see `lidal3d.learn.pretrain.track_vote`; None leaves them.

    Raises:
        DataError: features that aren't finite, or too few samples for K clusters of `min_cluster`.
    """

    def __init__(
        self,
        features: npt.NDArray[np.floating],
        clusters: int,
        rng: np.random.Generator,
        min_cluster: int = 5,
        momentum: float = 0.5,
        refresh_every: int = 10,
        vote: Vote | None = None,
    ) -> None:
        if not np.isfinite(features).all():
            bad = int((~np.isfinite(features)).any(axis=1).sum())
            raise DataError(f"features of {bad} of {len(features)} samples are not finite; they can't be clustered")
        if len(features) < clusters * min_cluster:
            raise DataError(
                f"{clusters} clusters of {min_cluster} samples need {clusters * min_cluster}, there are "
                f"{len(features)}; give more drives, or lower odct.clusters or odct.min_cluster"
            )
        self.bank = unit(features)
        self.labels = kmeans(self.bank, clusters, rng)[0]
        self.centroids = np.zeros((clusters, features.shape[1]))
        self.iterations = 0
        self._rng, self._min, self._m = rng, min_cluster, momentum
        self._every, self._vote = refresh_every, vote
        self._refill()  # equal features leave k-means with empty clusters
        self._recompute(np.arange(clusters))

    def __len__(self) -> int:
        return len(self.labels)

    def weights(self) -> Float64:
        """(K,) weights of the clusters in the cross-entropy."""
        return class_weights(self.labels, len(self.centroids))

    def update(self, samples: Int64, features: npt.NDArray[np.floating]) -> float:
        """Take in what the network made of some samples; their targets are to be read from `labels` before.

        Args:
            samples: (B,) each at most once.
            features: (B, D).

        Returns:
            The share of these samples whose label changed.

        Raises:
            DataError: features that aren't finite.
        """
        if not np.isfinite(features).all():
            raise DataError("features are no longer finite; lower pretrain.learning_rate")
        self.iterations += 1
        self.bank[samples] = unit((1 - self._m) * self.bank[samples] + self._m * unit(features))
        before = self.labels[samples]
        self.labels[samples] = self._nearest(samples, np.arange(len(self.centroids)))
        if self._vote is not None:
            self.labels = self._vote(self.bank, self.centroids, self.labels, samples)
        changed = float((self.labels[samples] != before).mean()) if len(samples) else 0.0
        if self.iterations % self._every == 0:
            self._recompute(np.unique(self.labels))
        self._dissolve()
        self._refill()
        return changed

    def _nearest(self, samples: Int64, among: Int64) -> Int64:
        """Of some clusters the one whose centroid a sample is nearest to; the first of equals."""
        return among[(self.bank[samples].astype(np.float64) @ self.centroids[among].T).argmax(axis=1)]

    def _recompute(self, clusters: Int64) -> None:
        """The centroids of some clusters from their members; those without any keep theirs."""
        for cluster in clusters.tolist():
            members = self.labels == cluster
            if members.any():
                self.centroids[cluster] = self.bank[members].mean(axis=0, dtype=np.float64)

    def _dissolve(self) -> None:
        """Move the members of small clusters to the nearest of the others."""
        small = np.bincount(self.labels, minlength=len(self.centroids)) < self._min
        members = np.flatnonzero(small[self.labels])
        if len(members):
            self.labels[members] = self._nearest(members, np.flatnonzero(~small))

    def _refill(self) -> None:
        """Give every empty cluster one half of the cluster that is the largest then."""
        clusters = len(self.centroids)
        for empty in np.flatnonzero(np.bincount(self.labels, minlength=clusters) == 0).tolist():
            largest = int(np.bincount(self.labels, minlength=clusters).argmax())
            members = np.flatnonzero(self.labels == largest)
            self.labels[members[self._half(members)]] = empty
            self._recompute(np.array([largest, empty]))

    def _half(self, members: Int64) -> npt.NDArray[np.bool_]:
        """(n,) the members that leave: the second cluster of 2-means, or half of them at random where it has none."""
        second = kmeans(self.bank[members], 2, self._rng)[0] == 1
        if second.any() and not second.all():
            return second
        second = np.zeros(len(members), bool)
        second[self._rng.permutation(len(members))[: len(members) // 2]] = True
        return second
