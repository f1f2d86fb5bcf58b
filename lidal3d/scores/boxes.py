# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""From the class scores of a detector's boxes to one distribution a box, whatever the detector's last layer was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# What a table of boxes says beside `lidal3d.interframe.boxes.COLUMNS`; p is the box's distribution, background included.
SCORES = {
    "least_confidence": "1 − max p",
    "margin": "lead of the likeliest class in p over the second",
    "softmax_entropy": "H(p), nats",
    "objectness": "the largest class score, as the detector wrote it",
    "predicted_class": "the class with that score",
    "range_m": "distance of the box's centre from the sensor",
    "is_key_frame": "1 where the sweep can be sent to labelling",
}


def box_distribution(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Distributions (B, C + 1) of class scores (B, C) in [0, 1]; the last column is "background, or no class".

    With s the sum of a box's scores:

        s ≤ 1   p_c = s_c       p_background = 1 − s      a softmax without its background, or a cautious sigmoid
        s > 1   p_c = s_c / s   p_background = 0          sigmoids, several of which say yes

    So a softmax over classes and background comes back whole, and one sigmoid of 0.4 alone means 0.6 that nothing is
    there. The background is a class like any other in every score made of these rows: a box is uncertain when it is
    unclear whether anything is there, too.

    >>> box_distribution(np.array([[0.4, 0.0], [0.75, 0.75]]))
    array([[0.4, 0. , 0.6],
           [0.5, 0.5, 0. ]], dtype=float32)
    """
    wide = np.asarray(scores, np.float64)
    total = wide.sum(axis=1, keepdims=True)
    classes = wide / np.maximum(total, 1)
    background = np.maximum(1 - total, 0)
    return np.concatenate([classes, background], axis=1).astype(np.float32)
