# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Vote entropy: query by committee, each member with one vote."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.scores.entropy import entropy
from lidal3d.scores.mc_dropout import Members


def vote_entropy(members: Members) -> npt.NDArray[np.float64]:
    """−Σ_c V_c/M ln(V_c/M) of the votes V_c of M members (N, C) -> (N,), nats (Dagan and Engelson, ICML 1995).

    The largest is asked first. Votes of 3 and 2 give 0.673.
    """
    points, classes = np.shape(members[0])
    votes = np.zeros((points, classes), np.float32)
    for member in members:
        votes[np.arange(points), np.argmax(member, axis=1)] += 1
    return entropy(votes / np.float32(len(members)))
