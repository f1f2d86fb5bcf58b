# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Track consistency: all sightings of a track carry one pseudo-label.

ODCT (Alfani et al., ICPR 2022) says that the representations of a track are constrained to be labelled as one category;
which operator does that is not stated in what was at hand of the paper. These three are this package's readings:

    hard vote   F_τ = norm(Σ_{i∈τ} F_i), and y_i ← argmax_k ⟨C_k, F_τ⟩ for all i of the track: a vote in feature space
    pair swap   two sightings of a track a step, each taught the other's label
    one sample  the memory has one entry a track, which any of its sightings updates
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lidal3d.learn.pretrain.odc_memory import Float32, Float64, Int64, unit


@dataclass(frozen=True)
class HardVote:
    """One decision a track, by its mean feature; a `Vote` of `OdcMemory`.

    Attributes:
        track: (N,) the track of each sample, −1 for none.
        least_likeness: a member whose ⟨F_i, F_τ⟩ is lower has no vote and keeps its own label; −1 lets all vote.
        min_members: tracks with fewer voters are left alone.
    """

    track: Int64
    least_likeness: float = 0.0
    min_members: int = 3
    _order: Int64 = field(init=False, repr=False, compare=False)
    _starts: Int64 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        order = np.argsort(self.track, kind="stable")
        tracks = np.arange(int(self.track.max(initial=-1)) + 2)
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_starts", np.searchsorted(self.track[order], tracks))

    def members(self, track: int) -> Int64:
        """The samples of a track, ascending."""
        return self._order[self._starts[track] : self._starts[track + 1]]

    def __call__(self, bank: Float32, centroids: Float64, labels: Int64, samples: Int64) -> Int64:
        """Labels (N,) after the vote of every track of which a sample was just seen."""
        voted = labels.copy()
        seen = np.unique(self.track[samples])
        for track in seen[seen >= 0].tolist():
            voters = self.voters(bank, self.members(track))
            if len(voters) >= self.min_members:
                voted[voters] = int((centroids @ mean_direction(bank[voters])).argmax())
        return voted

    def voters(self, bank: Float32, members: Int64) -> Int64:
        """The members that are like enough to the mean of all of them."""
        features = bank[members].astype(np.float64)
        return members[features @ mean_direction(bank[members]) >= self.least_likeness]


def mean_direction(features: Float32) -> Float64:
    """(D,) F_τ, the sum of features (n, D) at length one."""
    return unit(features.sum(axis=0, dtype=np.float64)).astype(np.float64)


def swapped_targets(labels: Int64, samples: Int64, track: npt.NDArray[np.integer]) -> Int64:
    """(B,) the label that each sample of a step is taught: that of the next sample of its track in the step.

    Of two of a track each gets the other's; what is alone of its track keeps its own. Labels (N,), samples (B,), and
    track (B,) of each, −1 for none.
    """
    taught = labels[samples].copy()
    for one in np.unique(track[track >= 0]):
        places = np.flatnonzero(track == one)
        taught[places] = labels[samples[np.roll(places, -1)]]
    return taught
