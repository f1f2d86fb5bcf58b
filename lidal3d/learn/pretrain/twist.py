# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""TWIST: a region's two views fall into the same of C latent classes, sharply, and all classes are used.

Wang, Kong, Zhang, Liu and Li, arXiv 2110.07402. The two-view recipe, with AdamW for LARS; multi-crop and the
self-labelling that follow it in the paper are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lidal3d.learn.pretrain.heads import projector
from lidal3d.learn.pretrain.losses import TwistTerms, small_batch, twist_terms
from lidal3d.learn.pretrain.method import Ask, Method
from lidal3d.learn.pretrain.two_views import TwoViews

REMEMBERED = 0.9  # of the terms that a collapse is told by, per step


class TwistHead(nn.Module):
    """Projector, then batch normalisation without scale and shift over both views' rows: logits."""

    def __init__(self, features: int, hidden: int, clusters: int) -> None:
        super().__init__()
        self.projector = projector(features, hidden, clusters)
        self.norm = nn.BatchNorm1d(clusters, affine=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, E) to (B, C)."""
        logits: Tensor = self.norm(self.projector(embeddings))
        return logits


class Twist(TwoViews):
    """L = L_c + α L_s − β L_d of the two views' logits."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask, self._loss)
        self._head, self._settings = ask.head, ask.config.twist
        self._terms: list[float] = []

    def _loss(self, first: Tensor, second: Tensor) -> Tensor:
        logits = self._head(torch.cat([first, second]))
        terms = twist_terms(logits[: len(first)], logits[len(first) :])
        self._remember(terms)
        return terms.loss(self._settings.alpha, self._settings.beta)

    def _remember(self, terms: TwistTerms) -> None:
        now = [float(term.detach()) for term in (terms.consistency, terms.sharpness, terms.diversity)]
        before = self._terms or now
        self._terms = [REMEMBERED * b + (1 - REMEMBERED) * n for b, n in zip(before, now, strict=True)]

    def notes(self) -> list[str]:
        """A collapse, and a batch that is too small for the clusters."""
        if not self._terms:
            return []
        terms = TwistTerms(*map(torch.tensor, self._terms))
        collapsed = terms.collapse(self._settings.clusters)
        small = small_batch(self.mean_regions, self._settings.clusters)
        told = f"collapsed: {collapsed}; lower pretrain.learning_rate or twist.clusters" if collapsed else None
        return [note for note in (told, small) if note]


TWIST = Method(
    "twist", "Wang et al., arXiv 2110.07402", "to put two views of a region into the same latent class",
    lambda features, config: TwistHead(features, config.twist.hidden, config.twist.clusters), Twist,
)  # fmt: skip
