# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One line of the ledger: a unit, who gave it its label, when, why and at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from lidal3d.errors import DataError
from lidal3d.select.history import History
from lidal3d.select.selection import Pick, Selection, UnitKey

Labeller = Literal["initial", "human", "pseudo"]
WHOLE_FRAME = "frame"


@dataclass(frozen=True)
class Record:
    """A labelled unit.

    Attributes:
        scene, frame, unit, kind: which unit; kind "frame" with unit 0 is a whole sweep.
        points: how many points it has.
        labeller: "initial" (labelled by people before the first round), "human", or "pseudo" (assumed).
        round: 0 for the initial set, then 1, 2, …
        model: fingerprint of the model that asked or assumed; "" before there was one.
        strategy: who chose it.
        cost: in `currency`.
        currency: points, regions, boxes, frames or seconds.
        center_m: (x, y, z) of the unit in its scene's frame, metres.
        queue: fingerprint of the manifest that asked, or "".
    """

    scene: str
    frame: int
    unit: int
    kind: str
    points: int
    labeller: Labeller
    round: int
    model: str
    strategy: str
    cost: float
    currency: str
    center_m: tuple[float, float, float]
    queue: str = ""

    @property
    def key(self) -> UnitKey:
        """The unit's name, which together with `kind` is unique in a drive."""
        return UnitKey(self.scene, self.frame, self.unit)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return {**asdict(self), "center_m": list(self.center_m)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Record:
        """The inverse of `to_dict`. Raises TypeError, KeyError or ValueError on anything else."""
        if fields["labeller"] not in get_args(Labeller):
            raise ValueError(f"labeller '{fields['labeller']}'")
        x, y, z = fields["center_m"]
        return cls(**{**fields, "center_m": (float(x), float(y), float(z))})


def records_of(
    selection: Selection, labeller: Labeller, round_number: int, model: str, strategy: str, queue: str = ""
) -> list[Record]:
    """A record a pick, in order of rank."""
    return [
        Record(
            pick.key.scene,
            pick.key.frame,
            pick.key.unit,
            pick.kind,
            pick.points,
            labeller,
            round_number,
            model,
            strategy,
            float(pick.cost),
            selection.currency,
            pick.center_m,
            queue,
        )
        for pick in selection.picks
    ]


def by_people(records: Iterable[Record]) -> list[Record]:
    """What people labelled, first of all the initial set."""
    return [record for record in records if record.labeller != "pseudo"]


def pseudo_of_last_round(records: Sequence[Record]) -> list[Record]:
    """What the last round assumed; older assumptions no longer count, as in LiDAL."""
    last = max((record.round for record in records), default=0)
    return [record for record in records if record.labeller == "pseudo" and record.round == last]


def in_force(records: Sequence[Record]) -> list[Record]:
    """The units that a training now learns from: all that people labelled, and the last round's assumptions."""
    return by_people(records) + pseudo_of_last_round(records)


def history_of_records(records: Sequence[Record], kind: str) -> History:
    """What strategies may know of earlier rounds, for a pool of units of a kind.

    Whole frames that people labelled are given as frames where the pool's units are not frames themselves.

    Raises:
        DataError: a unit of another kind than the pool's, which can't be found in it.
    """
    people = by_people(records)
    frames = [record for record in people if record.kind == WHOLE_FRAME]
    units = [record for record in people if record.kind != WHOLE_FRAME or kind == WHOLE_FRAME]
    pseudo = pseudo_of_last_round(records)
    for record in (*units, *pseudo):
        if record.kind != kind:
            raise DataError(
                f"ledger: round {record.round} labelled {record.kind} units, this pool has {kind}; use the same units"
            )
    return History(
        tuple(map(_pick, units)),
        tuple(map(_pick, pseudo)),
        frozenset((record.scene, record.frame) for record in frames),
        max((record.round for record in records), default=0),
    )


def _pick(record: Record) -> Pick:
    return Pick(
        rank=0,
        key=record.key,
        frame_name="",
        timestamp_ns=0,
        kind=record.kind,
        points=record.points,
        cost=record.cost,
        center_m=record.center_m,
        scores={},
        reason="",
    )
