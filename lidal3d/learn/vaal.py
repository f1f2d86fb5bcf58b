# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""VAAL on features: a variational auto-encoder of units, and who tells the labelled ones from the others in its latent space.

Sinha, Ebrahimi and Darrell, "Variational Adversarial Active Learning", ICCV 2019, whose auto-encoder is of images.

    L_VAE = Σ over labelled and unlabelled of [−log p(x | z) + β KL(q(z | x) ‖ N(0, 1))] + λ [−log D(μ_L) − log D(μ_U)]
    L_D = −log D(μ_L) − log(1 − D(μ_U))

A unit's score is D(μ), the smallest the least like what is labelled. The released code averages the reconstruction over
batch and dimensions but sums the divergence over both, so that β is some hundred thousand times what it says and the code
collapses to the prior; it also scores in training mode. Here both are sums over a unit and means over the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from lidal3d.learn.threads import one_thread
from lidal3d.settings.vaal import VaalConfig

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
HIDDEN = (512, 256)
VAE_STEPS = 2
ACTIVE_VARIANCE = 0.01
"""A latent dimension is in use where its mean varies by more over the units (Burda et al., ICLR 2016)."""
_ROWS = 8192
_LARGEST_LOG_VARIANCE = 10.0


class FeatureVae(nn.Module):
    """x (N, D) -> x̂ (N, D), μ and log σ² (N, Z), through one dense network of 512 and 256 units each way."""

    def __init__(self, dimensions: int, latent: int) -> None:
        super().__init__()
        wide, narrow = HIDDEN
        self.encoder = _dense(dimensions, wide, narrow)
        self.mean, self.log_variance = nn.Linear(narrow, latent), nn.Linear(narrow, latent)
        self.decoder = nn.Sequential(_dense(latent, narrow, wide), nn.Linear(wide, dimensions))

    def encode(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² (N, Z)."""
        hidden = self.encoder(rows)
        limit = _LARGEST_LOG_VARIANCE
        return self.mean(hidden), self.log_variance(hidden).clamp(-limit, limit)

    def forward(self, rows: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x̂, μ, log σ²; `noise` (N, Z) is standard normal."""
        mean, log_variance = self.encode(rows)
        return self.decoder(mean + noise * (log_variance / 2).exp()), mean, log_variance


def _dense(*sizes: int) -> nn.Sequential:
    pairs = pairwise(sizes)
    return nn.Sequential(*chain.from_iterable((nn.Linear(a, b), nn.ReLU()) for a, b in pairs))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each dimension (N, Z), nats."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2


def reconstruction_and_divergence(
    rows: Tensor, found: Tensor, mean: Tensor, log_variance: Tensor, rule: str = "default"
) -> tuple[Tensor, Tensor]:
    """−log p(x | z) of a Gaussian of variance 1 without its constant, and the divergence: sums over a unit, means over units.

    With rule "paper" as the released code has them: squares averaged over all, divergences summed over all.
    """
    apart = divergence(mean, log_variance)
    if rule == "paper":
        return mse_loss(found, rows), apart.sum()
    return (found - rows).square().sum(dim=1).mean() / 2, apart.sum(dim=1).mean()


@dataclass(frozen=True)
class Fitted:
    """A trained auto-encoder and its discriminator, in evaluation mode."""

    vae: FeatureVae
    discriminator: nn.Sequential

    def latent(self, rows: Float32) -> tuple[Float64, Float64]:
        """μ and the divergence of each dimension (N, Z) of rows (N, D)."""
        with one_thread(), torch.no_grad():
            found = [self.vae.encode(block) for block in _blocks(rows)]
            means = [mean for mean, _ in found]
            apart = [divergence(mean, log_variance) for mean, log_variance in found]
        return _joined(means), _joined(apart)

    def likeness(self, rows: Float32) -> Float64:
        """(N,) D(μ) in [0, 1]: how much each row looks like what is labelled."""
        with one_thread(), torch.no_grad():
            return _joined([self.discriminator(self.vae.encode(block)[0])[:, 0].sigmoid() for block in _blocks(rows)])


@dataclass(frozen=True)
class Checked:
    """What was found on units that a `Fitted` has not seen.

    Attributes:
        kl: (Z,) mean divergence from the prior of each dimension, nats.
        active: how many dimensions are in use.
        accuracy: mean of the shares of labelled and of unlabelled units that the discriminator tells.
        error: its standard error, were it blind.
    """

    kl: Float64
    active: int
    accuracy: float
    error: float


def fit(labelled: Float32, unlabelled: Float32, config: VaalConfig, seed: int) -> Fitted:
    """Train on standardised rows (L, D) and (U, D), at least one each; the same seed gives the same weights.

    Every step has as many labelled as unlabelled rows, in shuffled rounds of their own.
    """
    rows = torch.from_numpy(labelled), torch.from_numpy(unlabelled)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = FeatureVae(labelled.shape[1], config.latent)
        discriminator = nn.Sequential(_dense(config.latent, HIDDEN[0], HIDDEN[0]), nn.Linear(HIDDEN[0], 1))
        batches = _both(rows, config.batch, torch.Generator().manual_seed(seed))
        _train(vae, discriminator, batches, config)
    return Fitted(vae.eval(), discriminator.eval())


def check(fitted: Fitted, labelled: Float32, unlabelled: Float32) -> Checked:
    """What it makes of rows (L, D) and (U, D), at least one each, that it was not trained on."""
    means, apart = fitted.latent(np.concatenate([labelled, unlabelled]))
    told = np.mean(fitted.likeness(labelled) > 0.5), np.mean(fitted.likeness(unlabelled) <= 0.5)
    error = np.sqrt(0.25 / len(labelled) + 0.25 / len(unlabelled)) / 2
    active = int((means.var(axis=0) > ACTIVE_VARIANCE).sum())
    return Checked(apart.mean(axis=0), active, float(np.mean(told)), float(error))


def _train(vae: FeatureVae, discriminator: nn.Sequential, batches: Iterator[Tensor], config: VaalConfig) -> None:
    adams = [
        torch.optim.Adam(network.parameters(), config.learning_rate, fused=True) for network in (vae, discriminator)
    ]
    rising = 0 if config.rule == "paper" else int(config.anneal * config.steps)
    for step in range(config.steps):
        beta = config.beta * min(1.0, (step + 1) / (rising + 1))
        for _ in range(VAE_STEPS):
            rows = next(batches)
            loss = vae_loss(vae, discriminator, rows, torch.randn(len(rows), config.latent), beta, config)
            _step(adams[0], loss)
        with torch.no_grad():
            mean = vae.encode(rows)[0]
        _step(adams[1], _adversity(discriminator(mean), tells=True))


def vae_loss(
    vae: FeatureVae, discriminator: nn.Sequential, rows: Tensor, noise: Tensor, beta: float, config: VaalConfig
) -> Tensor:
    """L_VAE of a batch whose first half is labelled."""
    found, mean, log_variance = vae(rows, noise)
    half = len(rows) // 2
    loss = config.adversary * _adversity(discriminator(mean), tells=False)
    for part in (slice(half), slice(half, None)):
        error, apart = reconstruction_and_divergence(
            rows[part], found[part], mean[part], log_variance[part], config.rule
        )
        loss = loss + error + beta * apart
    return loss


def _adversity(logits: Tensor, *, tells: bool) -> Tensor:
    """−log D of the first, labelled half, plus −log(1 − D) of the other where it is to be told, else −log D of it too."""
    half = len(logits) // 2
    goal = torch.ones_like(logits)
    goal[half:] = 0.0 if tells else 1.0
    return 2 * binary_cross_entropy_with_logits(logits, goal)


def _step(adam: torch.optim.Optimizer, loss: Tensor) -> None:
    adam.zero_grad(set_to_none=True)
    loss.backward()
    adam.step()


def _both(rows: tuple[Tensor, Tensor], batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless (2 · batch, D): labelled rows, then as many unlabelled ones."""
    orders = [_shuffled(len(part), generator) for part in rows]
    while True:
        yield torch.cat([part[[next(order) for _ in range(batch)]] for part, order in zip(rows, orders, strict=True)])


def _shuffled(number: int, generator: torch.Generator) -> Iterator[int]:
    while True:
        yield from torch.randperm(number, generator=generator).tolist()


def _blocks(rows: Float32) -> Iterator[Tensor]:
    for first in range(0, max(len(rows), 1), _ROWS):
        yield torch.from_numpy(rows[first : first + _ROWS])


def _joined(blocks: list[Tensor]) -> Float64:
    return torch.cat(blocks).double().numpy()
