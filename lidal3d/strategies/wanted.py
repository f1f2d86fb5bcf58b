# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""What scoring has to make for strategies, beside the columns that every score table has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lidal3d.scores.columns import NAMES
from lidal3d.strategies.strategy import OF_ENCODER, SIGNALS, Strategy

EXTRAS = ("features", "members")  # what a model may say of a point beside its probabilities
PRETEXT_COLUMN, LOSS_COLUMN = "pretext_loss", "predicted_loss"


@dataclass(frozen=True)
class Wanted:
    """What is made of every sweep.

    Attributes:
        model: whether a model is asked at all.
        features, probabilities: whether the means over each unit's points are kept.
        members: whether the model's views are looked at one by one.
        labels: whether the truth is looked at: an upper reference alone does, and says so in its `needs`.
        guesses: whether the likeliest class of every point is kept, for pseudo-labels.
        columns: names of `lidal3d.scores.columns`.
        signals: of SIGNALS: what is made by others than the model's probabilities.
    """

    model: bool = True
    features: bool = False
    probabilities: bool = False
    members: bool = False
    labels: bool = False
    guesses: bool = False
    columns: tuple[str, ...] = ()
    signals: frozenset[str] = frozenset()

    @classmethod
    def by(cls, *strategies: Strategy) -> Wanted:
        """What `strategies` say they need; those that need nothing are spared the model."""
        needs = frozenset[str]().union(*(strategy.needs for strategy in strategies))
        columns = {column for strategy in strategies for column in strategy.columns}
        return cls(
            model=any(map(_asks_model, strategies)),
            features="features" in needs,
            probabilities="probabilities" in needs,
            members="members" in needs,
            labels="labels" in needs,
            guesses=any(strategy.pseudo is not None for strategy in strategies),
            columns=tuple(name for name in NAMES if name in columns),
            signals=frozenset(SIGNALS) & needs,
        )

    def with_model(self) -> Wanted:
        """The same, and the model is asked in any case."""
        return replace(self, model=True)

    @property
    def extras(self) -> frozenset[str]:
        """What the model has to say beside probabilities."""
        return frozenset(name for name in EXTRAS if getattr(self, name))

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays that are kept row for row beside the score table."""
        means = tuple(name for name in ("features", "probabilities") if getattr(self, name))
        return means + tuple(name for name in ("embeddings", "patterns") if name in self.signals)

    def to_dict(self) -> dict[str, Any]:
        """What makes a results folder another one: empty for the score table alone."""
        return {"columns": list(self.columns), "arrays": list(self.arrays)} if self.columns or self.arrays else {}


def _asks_model(strategy: Strategy) -> bool:
    """Whether the model's probabilities are needed: not by who looks at an encoder or at a loss head alone."""
    own = strategy.needs - {*OF_ENCODER, "loss_head"}
    return bool(own or strategy.pseudo or set(strategy.columns) - {PRETEXT_COLUMN, LOSS_COLUMN})


def needing(strategies: Iterable[Strategy], what: str) -> list[str]:
    """Names of the strategies that need something."""
    return [strategy.name for strategy in strategies if what in strategy.needs]
