# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Strategy: a named recipe, what it needs, and one way of calling it for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lidal3d.config import Config
from lidal3d.errors import UsageError
from lidal3d.select.active import FrameFacts
from lidal3d.select.budget import CURRENCIES, parse_budget
from lidal3d.select.history import History
from lidal3d.select.pseudo import nothing
from lidal3d.select.selection import Selection
from lidal3d.strategies.kinds import ARRAYS, BOX, KINDS, can_have, kinds_in_words
from lidal3d.strategies.pool import UnitPool

OURS = "this package"
# Words of `Strategy.needs` for what an encoder says, and for what is said of the model by its own head or by an earlier
# one: see `lidal3d.jobs.signals`.
OF_ENCODER = ("embeddings", "patterns", "pretext")
SIGNALS = (*OF_ENCODER, "earlier", "loss_head")
SIGNAL_WORDS = {"pretext": "the loss of a pretext task", "earlier": "an earlier model", "loss_head": "a loss head"}

# How what is missing is made: of the model or the predictions, before scoring …
HOW_TO_GET = {
    "features": "give --model, or predict again with `lidal3d predict --set predict.features=true`",
    "members": "give --model with --set predict.views=8, or predict again with --set predict.members=true",
    "labels": "this is an upper reference for drives whose labels are at hand",
    "tracks": "add it to scores of regions with `lidal3d track --scores`",
    "poses": "give the drive poses: neighbouring frames are compared",
    "embeddings": "give --encoder: one of `lidal3d pretrain`, or the weights of a ViT",
    "patterns": "give --encoder: one of `lidal3d pretrain`, or the weights of a ViT",
    "pretext": "give --encoder: one of `lidal3d pretrain --method masked`",
    "earlier": "give --earlier-model: the model of the round before; in the first round take tod_first",
    "loss_head": "train the model with --set learning_loss.weight=1",
    "source": "say what is labelled (--earlier, --labelled), or give the scores of a labelled drive as --source",
}
# … and of boxes, of which all is scored that can be.
OF_BOXES = {"features": "write them for every box and score again", "probabilities": "score the boxes again"}


@dataclass(frozen=True)
class Ask:
    """What a rule is given.

    Attributes:
        name: the strategy's, for messages.
        pool: in order of (scene, frame, unit).
        config: all settings; the budget is `select.budget`.
        frame_facts: (scene, frame index) -> (frame name, timestamp in ns).
        history: earlier rounds.
        rng: the only source of chance.
        source: units of a labelled drive that aren't chosen from, in order, or None.
    """

    name: str
    pool: UnitPool
    config: Config
    frame_facts: FrameFacts
    history: History
    rng: np.random.Generator
    source: UnitPool | None = None


@dataclass(frozen=True)
class Strategy:
    """How to decide what people label.

    Attributes:
        name: its key in STRATEGIES.
        paper: where it is from, or "this package".
        asks: what it asks for, in half a sentence.
        rule: Ask -> Selection.
        needs: of features, probabilities, members, labels, poses, tracks, embeddings, patterns, pretext, earlier,
            loss_head: what its scores are made from (HOW_TO_GET says how); and source: units that are labelled, in the
            pool or as a pool of their own.
        columns: the score columns it reads.
        kinds: the kinds of unit it is for; None for all.
        currencies: the budgets it can be given.
        pseudo: (Ask, Selection) -> the pseudo-labelled units; None where it has none.
        settings: group -> settings that are part of what it is: they take the place of the config's.
    """

    name: str
    paper: str
    asks: str
    rule: Callable[[Ask], Selection]
    needs: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()
    kinds: frozenset[str] | None = None
    currencies: tuple[str, ...] = CURRENCIES
    pseudo: Callable[[Ask, Selection], Selection] | None = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def choose(
        self,
        pool: UnitPool,
        config: Config,
        frame_facts: FrameFacts,
        history: History,
        rng: np.random.Generator,
        source: UnitPool | None = None,
    ) -> tuple[Selection, Selection]:
        """What people are asked, and what is pseudo-labelled (empty where the strategy has no pseudo-labels).

        Args:
            pool: in any order of rows; the answer doesn't depend on it.
            config: the budget is `select.budget`; it is never exceeded.
            frame_facts: (scene, frame index) -> (frame name, timestamp in ns).
            history: what was labelled is never chosen again.
            rng: drawn from where the strategy has chance in it.
            source: units of a labelled drive, scored by the same model, for strategies that need a source.

        Raises:
            UsageError: the pool lacks what the strategy needs, or the budget makes no sense or exceeds the pool.
            DataError: nothing can be chosen.
        """
        ordered = pool.in_order()
        self.refuse_missing(ordered)
        self.refuse_currency(config.select.budget)
        config = self.configured(config)
        ask = Ask(self.name, ordered, config, frame_facts, history, rng, None if source is None else source.in_order())
        selection = replace(self.rule(ask), strategy=self.name)
        pseudo = self.pseudo(ask, selection) if self.pseudo else nothing()
        return selection, replace(pseudo, strategy=f"{self.name} pseudo")

    def configured(self, config: Config) -> Config:
        """The settings that it is scored and chosen with."""
        return config.updated({group: dict(own) for group, own in self.settings.items()}, f"strategy '{self.name}'")

    @property
    def possible_kinds(self) -> tuple[str, ...]:
        """The kinds of unit that it can choose among: those it is for and that can have what it needs."""
        wanted = KINDS if self.kinds is None else tuple(kind for kind in KINDS if kind in self.kinds)
        return tuple(kind for kind in wanted if can_have(kind, self.columns, self.needs & ARRAYS))

    def refuse_missing(self, pool: UnitPool) -> None:
        """Raise UsageError for what the pool lacks, with how to make it."""
        kind = pool.table.kind
        for column in self.columns:
            if column not in pool.table.scores:
                how = self._how() if can_have(kind, [column], ()) else _none_of(kind)
                raise UsageError(f"strategy '{self.name}' needs the score column '{column}'; {how}")
        for name in sorted(self.needs & ARRAYS):
            if getattr(pool, name) is None:
                made = OF_BOXES.get(name, "") if kind == BOX else self._how()
                how = made if can_have(kind, (), [name]) else _none_of(kind)
                raise UsageError(f"strategy '{self.name}' needs {name} of the units; {how}")
        self._refuse_other_settings(pool)
        if self.kinds is not None and kind not in self.kinds:
            raise UsageError(
                f"strategy '{self.name}' is for {', '.join(sorted(self.kinds))}, not for units of kind "
                f"'{kind}'; set units.kind and score again"
            )

    def _refuse_other_settings(self, pool: UnitPool) -> None:
        for group, own in self.settings.items():
            made = pool.table.metadata.get(group, {})
            for key in sorted(own.keys() & made.keys()):
                if made[key] != own[key]:
                    raise UsageError(
                        f"strategy '{self.name}' has {group}.{key}={own[key]}, the pool was scored with {made[key]}; "
                        f"score again with --strategy {self.name} alone"
                    )

    def _how(self) -> str:
        """… and how scoring makes it of them."""
        if "tracks" in self.needs:
            return HOW_TO_GET["tracks"]
        sources = sorted(self.needs & {"features", "members", *SIGNALS})
        first = f" (for {sources[0]}: {HOW_TO_GET[sources[0]]})" if sources else ""
        return f"score again with --strategy {self.name}{first}"

    def refuse_currency(self, budget: str) -> None:
        """Raise UsageError for a budget in a currency that the strategy can't count."""
        currency = parse_budget(budget).currency
        if currency not in self.currencies:
            known = ", ".join(self.currencies)
            raise UsageError(f"strategy '{self.name}' can't spend {currency}; give select.budget in {known}")


def _none_of(kind: str) -> str:
    return f"{kinds_in_words([kind])} have none; take another of `lidal3d strategies`"
