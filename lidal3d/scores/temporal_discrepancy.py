# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal output discrepancy (Huang et al., ICCV 2021): how much a model changed its mind since the round before.

    s = ½ Σ_c (p_c − p'_c)²        p of the model, p' of the one that it was trained on from; 0 … 1

Before there is an earlier model, the published code compares with an untrained network and asks where the two agree
most. An untrained network says about 1/C of every class, so that rule is the distance to uniform, smallest first: here
it is that, without the accident of the random weights.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lidal3d.units.regions import region_means, region_sizes

Floats = npt.NDArray[np.float64]


def temporal_discrepancy(
    probabilities: npt.NDArray[np.floating], earlier: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """½ Σ_c (p_c − p'_c)² of each point (N,), 0 … 1, of two maps (N, C); the largest is asked first.

    >>> temporal_discrepancy(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5]])).tolist()
    [1.0, 0.0]
    """
    return half_squares(probabilities, np.asarray(earlier, np.float32))


def distance_to_uniform(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """½ Σ_c (p_c − 1/C)² of each point (N,), 0 … ½; the smallest is asked first."""
    return half_squares(probabilities, np.float32(1 / max(probabilities.shape[1], 1)))


def half_squares(
    probabilities: npt.NDArray[np.floating], other: npt.NDArray[np.float32] | np.float32
) -> npt.NDArray[np.float64]:
    """½ Σ_c (p_c − q_c)² of each row (N,)."""
    change = np.asarray(probabilities, np.float32) - other
    return 0.5 * np.einsum("nc,nc->n", change, change, dtype=np.float64)


def means_of_top(values: Floats, unit: npt.NDArray[np.int32], units: int, share: float = 1.0) -> Floats:
    """The mean (R,) over the largest values of each unit, a share of its points (at least one); NaN without points.

    In a whole frame most points are road and walls that no training moves: their zeros drown what changed.

    Args:
        values: (N,) finite.
        unit: (N,) unit of each point, 0 … units − 1.
        units: R.
        share: above 0, at most 1: the plain mean.
    """
    if share >= 1:
        return region_means(unit, units, values)
    sizes = region_sizes(unit, units)
    order = np.lexsort((-values, unit))
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(values)) - np.repeat(starts, sizes)
    top = place < np.repeat(np.maximum(np.ceil(share * sizes), 1), sizes)
    return region_means(unit[order][top], units, values[order][top])
