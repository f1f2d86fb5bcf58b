# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""VAAL: what a discriminator finds least like what is labelled, in the latent space of a variational auto-encoder.

Sinha et al., "Variational Adversarial Active Learning", ICCV 2019, on features of units (`lidal3d.learn.vaal`) in place of
images. Before it is believed, it is asked about units of held-out scenes: with fewer than two latent dimensions in use it
has learnt nothing, which is refused; where it can't tell labelled from unlabelled, chance does as well, and is taken.
What it learns first is which drive a unit is from, so a scene's part of the budget is bounded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lidal3d.errors import UsageError
from lidal3d.scores.folds import held_out
from lidal3d.scores.table import ScoreTable
from lidal3d.select.history import is_labelled
from lidal3d.select.quotas import equal_shares, within_quotas
from lidal3d.select.reason import number, percent
from lidal3d.select.selection import Selection
from lidal3d.settings.vaal import VaalConfig
from lidal3d.strategies.combine import scene_of
from lidal3d.strategies.domains import known_rows, logs_of, refuse_other_model
from lidal3d.strategies.pool import UnitPool
from lidal3d.strategies.spend import Candidates, Float64, Int64, buy_in_order, candidates
from lidal3d.strategies.strategy import HOW_TO_GET, Ask, Strategy

PAPER = "Sinha et al., ICCV 2019"
LIKENESS = "labelled_likeness"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Told:
    """N units, the labelled ones first.

    Attributes:
        rows: (N, D) float32, standardised.
        labelled: (N,).
        log, frame: (N,) a number for the drive log of each, and its frame.
        target: (U,) rows of the pool that the unlabelled ones are.
    """

    rows: npt.NDArray[np.float32]
    labelled: npt.NDArray[np.bool_]
    log: Int64
    frame: Int64
    target: Int64

    def split(self, some: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The labelled and the unlabelled rows of some units."""
        return self.rows[some & self.labelled], self.rows[some & ~self.labelled]


def vaal(what: str) -> Callable[[Ask], Selection]:
    """The rule for an array of the pool: "features" or "embeddings"."""

    def rule(ask: Ask) -> Selection:
        known = getattr(ask.pool, what)
        some = candidates(ask, {what: known})
        told, settings = told_apart(ask, what), ask.config.vaal
        if settings.rule == "default":
            blind = _blind(ask, told)
            if blind and settings.if_blind == "random":
                return _at_random(ask, some, blind)
        return _least_alike(ask, some, told)

    return rule


def told_apart(ask: Ask, what: str) -> Told:
    """What is labelled, in the pool and in a source, and what isn't.

    Raises:
        UsageError: nothing is labelled, or a source of another model or without what is needed.
    """
    known = known_rows(ask.pool, (what,))
    marked = is_labelled(ask.pool.table, ask.history)[known]
    pools = [(ask.pool, known[marked]), (ask.pool, known[~marked])]
    if ask.source is not None:
        refuse_other_model(ask.name, ask.source, ask.pool, (what,))
        pools.insert(0, (ask.source, known_rows(ask.source, (what,))))
    labelled = sum(len(rows) for _, rows in pools[:-1])
    if not labelled:
        raise UsageError(f"strategy '{ask.name}' needs labelled units to compare with; {HOW_TO_GET['source']}")
    tables = [(pool.table, rows) for pool, rows in pools]
    rows = np.concatenate([_inputs(ask.config.vaal, pool, rows, what) for pool, rows in pools])
    return Told(
        rows=standardised(rows),
        labelled=np.arange(len(rows)) < labelled,
        log=np.unique(
            np.concatenate([logs_of(table)[table.scene[rows]] for table, rows in tables]), return_inverse=True
        )[1].ravel(),
        frame=np.concatenate([table.frame[rows].astype(np.int64) for table, rows in tables]),
        target=known[~marked],
    )


def _inputs(settings: VaalConfig, pool: UnitPool, rows: Int64, what: str) -> Float64:
    """(N, D) what is known of some units, with size and range where they are asked for."""
    features = getattr(pool, what)[rows].astype(np.float64)
    if not settings.nuisances:
        return features
    range_m = np.nan_to_num(pool.table.score("range_m")[rows])
    return np.column_stack([features, np.log1p(pool.table.points[rows]), range_m])


def standardised(rows: Float64) -> npt.NDArray[np.float32]:
    """(N, D) of mean 0 and variance 1; columns that don't vary are 0."""
    moved = rows - rows.mean(axis=0)
    deviation = moved.std(axis=0)
    varies = deviation > 1e-6 * np.maximum(np.abs(rows).max(axis=0, initial=0), 1e-30)
    return np.where(varies, moved / np.where(varies, deviation, 1), 0).astype(np.float32)


def _seed(ask: Ask) -> int:
    return int(ask.rng.integers(2**31))


def _blind(ask: Ask, told: Told) -> str:
    """Why held-out units say that there is nothing to be told; empty where there is, or where it can't be known.

    Raises:
        UsageError: too few latent dimensions are in use.
    """
    from lidal3d.learn.vaal import check, fit

    settings = ask.config.vaal
    aside = held_out(told.log, told.frame, told.labelled, settings.held_out)
    if aside is None:
        _LOG.warning("%s: too few labelled frames to hold some out; its scores are taken unchecked", ask.name)
        # In use or not is asked of all then.
        aside = np.ones(len(told.rows), bool)
        found, honest = check(fit(*told.split(aside), settings, _seed(ask)), *told.split(aside)), False
    else:
        found, honest = check(fit(*told.split(~aside), settings, _seed(ask)), *told.split(aside)), True
    kl = " ".join(f"{value:.2f}" for value in found.kl)
    _LOG.info(
        "%s: %d of %d latent dimensions in use, KL %s nats; %.0f %% told on %s units", ask.name, found.active,
        len(found.kl), kl, 100 * found.accuracy, "held-out" if honest else "its own",
    )  # fmt: skip
    if found.active < settings.least_active:
        raise UsageError(
            f"strategy '{ask.name}': {found.active} of {len(found.kl)} latent dimensions are in use, "
            f"{settings.least_active} needed: its auto-encoder learnt nothing; raise vaal.steps, lower vaal.beta, or see "
            "whether the features of the units differ at all"
        )
    needed = max(settings.least_accuracy, 0.5 + 2 * found.error)
    if not honest or found.accuracy >= needed:
        return ""
    words = f"labelled and unlabelled are told in {percent(found.accuracy)} of held-out units, {percent(needed)} needed"
    fallback = "drawn at random instead" if settings.if_blind == "random" else "its scores are taken all the same"
    _LOG.warning("%s: %s; %s", ask.name, words, fallback)
    return words


def _at_random(ask: Ask, some: Candidates, blind: str) -> Selection:
    return buy_in_order(ask, some, ask.rng.permutation(len(some)), lambda row, scores: f"drawn at random: {blind}")


def _least_alike(ask: Ask, some: Candidates, told: Told) -> Selection:
    from lidal3d.learn.vaal import fit

    everything = np.ones(len(told.rows), bool)
    fitted = fit(*told.split(everything), ask.config.vaal, _seed(ask))
    of_pool = np.full(len(ask.pool), np.nan)
    of_pool[told.target] = fitted.likeness(told.rows[~told.labelled])
    likeness = of_pool[some.rows]
    table: ScoreTable = ask.pool.table.with_scores(**{LIKENESS: of_pool})
    ascending = np.sort(likeness)

    def why(row: int, scores: dict[str, float]) -> str:
        below = np.searchsorted(ascending, likeness[row], side="right") / len(ascending)
        return f"unlike what is labelled: {number(likeness[row])} for being so, of 1 ({percent(below)} of the drive no more)"

    return buy_in_order(ask, some, _spread(ask, some, np.argsort(likeness, kind="stable")), why, table)


def _spread(ask: Ask, some: Candidates, order: Int64) -> Int64:
    """The order with what exceeds a scene's part of the budget moved to its end."""
    times = 0.0 if ask.config.vaal.rule == "paper" else ask.config.vaal.scene_parts
    if not times or some.costs.frame_fee:
        return order
    scene = scene_of(ask, some.rows)
    limits = np.minimum((times * equal_shares(scene, some.limit)).astype(np.int64), some.limit)
    inside = within_quotas(order, some.costs.unit, scene, limits)
    return np.concatenate([order[inside], order[~inside]])


VAAL = Strategy(
    "vaal", PAPER, "what is least like what is labelled, in the latent space of an auto-encoder of the model's features",
    vaal("features"), frozenset({"features", "source"}),
)  # fmt: skip
VAAL_ENCODER = Strategy(
    "vaal_encoder", PAPER + "; on an encoder's embeddings this package", "as vaal, on what an encoder says of the units",
    vaal("embeddings"), frozenset({"embeddings", "source"}),
)  # fmt: skip
