# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What a TWIST encoder says of units beside their embeddings: their latent class, and how sure it is of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lidal3d.errors import UsageError
from lidal3d.learn.pretrain.encoders import pooled
from lidal3d.learn.pretrain.file import Pretrained
from lidal3d.learn.pretrain.losses import LOG_EPSILON, entropy
from lidal3d.learn.pretrain.views import View, random_view
from lidal3d.learn.threads import own_threads

TWIST = "twist"


@dataclass(frozen=True)
class Readouts:
    """Of R units.

    Attributes:
        cluster: (R,) int64 the likeliest latent class, −1 for a unit without points.
        instability: (R,) L_c between two random views, nats; NaN where one of them doesn't show the unit.
        ambiguity: (R,) H(p) of the frame as it is, nats; NaN for a unit without points.
    """

    cluster: npt.NDArray[np.int64]
    instability: npt.NDArray[np.float64]
    ambiguity: npt.NDArray[np.float64]


def twist_readouts(
    pretrained: Pretrained, points: npt.NDArray[np.float32], unit: npt.NDArray[np.int32], units: int,
    rng: np.random.Generator,
) -> Readouts:  # fmt: skip
    """The read-outs of a frame's units.

    Args:
        pretrained: by method twist, in evaluation mode.
        points: (N, 4) of a sweep or (N, 5) of a picture.
        unit: (N,) unit of each, −1 for none.
        units: R.
        rng: draws the two views.

    Raises:
        UsageError: an encoder of another method.
    """
    if pretrained.method != TWIST:
        raise UsageError(
            f"latent classes are TWIST's, this encoder is {pretrained.method}'s; train one with --method twist"
        )
    whole, settings = View(points, unit), pretrained.config.pretrain
    if not len(points):
        return Readouts(np.full(units, -1), np.full(units, np.nan), np.full(units, np.nan))
    with torch.inference_mode(), own_threads():
        p, first, second = (
            _probabilities(pretrained, view, units)
            for view in (whole, random_view(whole, settings, rng), random_view(whole, settings, rng))
        )
        log_first, log_second = torch.log(first + LOG_EPSILON), torch.log(second + LOG_EPSILON)
        instability = 0.5 * ((first - second) * (log_first - log_second)).sum(dim=1)
        cluster = torch.where(torch.isnan(p[:, 0]), -1, p.argmax(dim=1))
        found = cluster.cpu().numpy(), instability.double().cpu().numpy(), entropy(p).double().cpu().numpy()
    return Readouts(*found)


def _probabilities(pretrained: Pretrained, view: View, units: int) -> Tensor:
    """P (R, C), NaN for units that the view doesn't show."""
    encoder = pretrained.encoder
    if not len(view.elements):
        return torch.full((units, pretrained.config.twist.clusters), torch.nan, device=encoder.device)
    tokenised = encoder.tokenised([view.elements])
    region = torch.from_numpy(view.region.astype(np.int64)).to(encoder.device)
    logits = pretrained.head(pooled(encoder(tokenised), tokenised.of, region, units))
    shown = torch.from_numpy(view.sizes(units) > 0).to(encoder.device)
    return torch.where(shown.unsqueeze(1), torch.softmax(logits, dim=1), torch.nan)
