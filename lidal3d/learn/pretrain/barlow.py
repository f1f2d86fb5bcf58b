# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Barlow Twins: the cross-correlation of two views' embeddings is to be the identity.

Zbontar, Jing, Misra, LeCun and Deny, ICML 2021, with AdamW for LARS.
"""

from __future__ import annotations

from torch import Tensor

from lidal3d.learn.pretrain.heads import projector
from lidal3d.learn.pretrain.losses import barlow_twins_loss
from lidal3d.learn.pretrain.method import Ask, Method
from lidal3d.learn.pretrain.two_views import TwoViews


class Barlow(TwoViews):
    """L_BT of the two views' projections, divided by D so that its size doesn't depend on the projector."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask, self._loss)
        self._head, self._settings = ask.head, ask.config.barlow

    def _loss(self, first: Tensor, second: Tensor) -> Tensor:
        loss = barlow_twins_loss(self._head(first), self._head(second), self._settings.off_weight)
        return loss / self._settings.dimensions


BARLOW = Method(
    "barlow", "Zbontar et al., ICML 2021", "to give two views of a region the same features, none of them redundant",
    lambda features, config: projector(features, config.barlow.hidden, config.barlow.dimensions), Barlow,
)  # fmt: skip
