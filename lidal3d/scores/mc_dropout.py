# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Scores of M stochastic passes or augmented views p_m of the same points: MC dropout (Gal et al., ICML 2017).

consensus entropy   H( 1/M Σ_m p_m )               all uncertainty
expected entropy    1/M Σ_m H(p_m)                 what every pass is unsure of: noise in the data
BALD                their difference, ≥ 0          what the passes disagree on (Houlsby et al., 2011)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lidal3d.scores.entropy import entropy

Members = Sequence[npt.NDArray[np.floating]]  # M maps (N, C), or one array (M, N, C)


def consensus(members: Members) -> npt.NDArray[np.float32]:
    """The mean (N, C) of M probability maps (N, C); one member at a time is widened."""
    total = np.zeros(np.shape(members[0]), np.float32)
    for member in members:
        total += member
    return total / np.float32(len(members))


def consensus_entropy(members: Members) -> npt.NDArray[np.float64]:
    """H of the mean prediction (N,), nats: "MC-dropout entropy"; the largest is asked first."""
    return entropy(consensus(members))


def expected_entropy(members: Members) -> npt.NDArray[np.float64]:
    """The mean over the members of H(p_m) (N,), nats."""
    total = np.zeros(len(members[0]))
    for member in members:
        total += entropy(np.asarray(member, np.float32))
    return total / len(members)


def bald(members: Members) -> npt.NDArray[np.float64]:
    """The mutual information of prediction and member (N,), nats, at least 0; the largest is asked first."""
    return np.maximum(consensus_entropy(members) - expected_entropy(members), 0)
