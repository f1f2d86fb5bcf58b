# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""TWIST and Barlow Twins: losses on two views of the same B regions.

TWIST: Wang, Kong, Zhang, Liu and Li, "Self-Supervised Learning by Estimating Twin Class Distributions", arXiv
2110.07402. Barlow Twins: Zbontar, Jing, Misra, LeCun and Deny, ICML 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_EPSILON = 1e-5  # inside TWIST's logarithms
NORM_EPSILON = 1e-5  # added to variances, as torch's batch normalisation does
LEAST_INFORMATION = 0.05  # of ln C: below it the classes tell nothing apart


@dataclass(frozen=True)
class TwistTerms:
    """The three terms of TWIST, nats; scalars.

    Attributes:
        consistency: L_c = ½ [mean KL(p₁ ‖ p₂) + mean KL(p₂ ‖ p₁)].
        sharpness: L_s = ½ Σ over views of mean H(p).
        diversity: L_d = ½ Σ over views of H(mean p).
    """

    consistency: Tensor
    sharpness: Tensor
    diversity: Tensor

    def loss(self, alpha: float = 1.0, beta: float = 1.0) -> Tensor:
        """L = L_c + α L_s − β L_d. With α = β = 1 its floor is −ln C and both kinds of collapse cost 0."""
        return self.consistency + alpha * self.sharpness - beta * self.diversity

    def collapse(self, clusters: int) -> str | None:
        """What has collapsed, for people, or None: L_d − L_s, what a class tells of a region, is near 0 then."""
        diversity = float(self.diversity)
        if diversity - float(self.sharpness) >= LEAST_INFORMATION * math.log(clusters):
            return None
        if diversity < 0.5 * math.log(clusters):
            return "all regions fall into few of the clusters"
        return "every region falls into all clusters alike"


def standardised(values: Tensor) -> Tensor:
    """Columns of (B, D) with mean 0 and variance 1 (biased): batch normalisation without scale and shift."""
    variance, mean = torch.var_mean(values, dim=0, correction=0)
    return (values - mean) * torch.rsqrt(variance + NORM_EPSILON)


def twist_terms(first: Tensor, second: Tensor) -> TwistTerms:
    """The terms for logits (B, C) of two views, which are taken as they are: normalise both together before."""
    p, q = torch.softmax(first, dim=1), torch.softmax(second, dim=1)
    log_p, log_q = torch.log(p + LOG_EPSILON), torch.log(q + LOG_EPSILON)
    consistency = 0.5 * ((p - q) * (log_p - log_q)).sum(dim=1).mean()
    sharpness = -0.5 * ((p * log_p).sum(dim=1).mean() + (q * log_q).sum(dim=1).mean())
    diversity = 0.5 * (entropy(p.mean(dim=0)) + entropy(q.mean(dim=0)))
    return TwistTerms(consistency, sharpness, diversity)


def entropy(probabilities: Tensor) -> Tensor:
    """−Σ p ln(p + ε) along the last axis, nats."""
    return -(probabilities * torch.log(probabilities + LOG_EPSILON)).sum(dim=-1)


def twist_loss(first: Tensor, second: Tensor, alpha: float = 1.0, beta: float = 1.0) -> Tensor:
    """L of logits (B, C) of two views, normalised over both views' rows as by the last layer of TWIST's head."""
    both = standardised(torch.cat([first, second]))
    return twist_terms(both[: len(first)], both[len(first) :]).loss(alpha, beta)


def small_batch(regions: int, clusters: int) -> str | None:
    """What to say where B regions are too few for C clusters: H(mean p) of sharp p is at most ln B. None if not."""
    if regions >= clusters / 2:
        return None
    return (
        f"{regions} regions a step for {clusters} clusters hold the diversity term below ln {regions}; raise "
        "pretrain.batch or lower pretrain.clusters"
    )


@dataclass(frozen=True)
class BarlowTerms:
    """Σ (1 − 𝒞_ii)² and Σ over i ≠ j of 𝒞_ij², scalars; 𝒞 is the cross-correlation of the two views' columns."""

    on_diagonal: Tensor
    off_diagonal: Tensor

    def loss(self, off_weight: float = 0.0051) -> Tensor:
        """L = on + λ off."""
        return self.on_diagonal + off_weight * self.off_diagonal


def barlow_terms(first: Tensor, second: Tensor) -> BarlowTerms:
    """The two terms for embeddings (B, D) of two views; each is standardised by itself, so that 𝒞 = z₁ᵀ z₂ / B."""
    correlation = standardised(first).T @ standardised(second) / len(first)
    diagonal = torch.diagonal(correlation)
    return BarlowTerms(((1 - diagonal) ** 2).sum(), (correlation**2).sum() - (diagonal**2).sum())


def barlow_twins_loss(first: Tensor, second: Tensor, off_weight: float = 0.0051) -> Tensor:
    """L of embeddings (B, D) of two views."""
    return barlow_terms(first, second).loss(off_weight)
