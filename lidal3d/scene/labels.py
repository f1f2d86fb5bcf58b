# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Class lists and the map from a data set's raw label ids to train ids 0 … C−1 (255 is ignored)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.errors import UsageError

IGNORE = 255
UNKNOWN = 254  # in the lookup table only: a raw id that the data set's card does not list


@dataclass(frozen=True)
class LabelMap:
    """Class names, their colours, and raw id -> train id.

    Attributes:
        name: the data set's name, with the variant where there is one ("semantickitti", "semantickitti-spvnas").
        classes: C class names; a class's train id is its place here.
        colors: C (r, g, b) triples, 0-255.
        raw_to_train: raw id -> train id, or 255 for raw ids that are not evaluated.
        train_to_raw: the raw id written for each train id (for labelling tools), C entries.
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    raw_to_train: dict[int, int]
    train_to_raw: tuple[int, ...]

    def to_train(self, raw: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
        """Train ids (N,) of raw semantic ids (N,); ids that the card does not list become 255."""
        table = self._table()
        known = table[np.minimum(raw, len(table) - 1)]
        return np.where(known == UNKNOWN, np.uint8(IGNORE), known)

    def unknown_ids(self, raw: npt.NDArray[np.integer]) -> list[int]:
        """The raw ids among `raw` that the data set's card does not list, ascending."""
        return [int(i) for i in np.unique(raw) if int(i) not in self.raw_to_train]

    def _table(self) -> npt.NDArray[np.uint8]:
        # One entry past the largest id, so that anything above it clips to "unknown".
        table = np.full(max(self.raw_to_train) + 2, UNKNOWN, dtype=np.uint8)
        for raw, train in self.raw_to_train.items():
            table[raw] = train
        return table


def cards_folder() -> Path:
    """Where the data-set cards lie: inside the installed package, or at the top of a source checkout."""
    installed = Path(__file__).resolve().parents[1] / "datasets"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "datasets"


@cache
def load_label_map(name: str) -> LabelMap:
    """The label map of a data-set card: "semantickitti", "nuscenes", …, or "DATASET-VARIANT".

    Raises:
        UsageError: no card or no variant has that name.
    """
    import yaml

    dataset, _, variant = name.partition("-")
    path = cards_folder() / f"{dataset}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in cards_folder().glob("*.yaml")))
        raise UsageError(f"no data-set card named '{dataset}' (known: {known})")
    card = yaml.safe_load(path.read_text())
    raw_to_train = {int(k): int(v) for k, v in card["raw_to_train"].items()}
    if variant:
        if variant not in card.get("variants", {}):
            raise UsageError(f"data-set card '{dataset}' has no variant '{variant}'")
        raw_to_train.update({int(k): int(v) for k, v in card["variants"][variant]["raw_to_train"].items()})
    return LabelMap(
        name=name,
        classes=tuple(c["name"] for c in card["classes"]),
        colors=tuple(tuple(c["color"]) for c in card["classes"]),
        raw_to_train=raw_to_train,
        train_to_raw=tuple(int(c["raw"]) for c in card["classes"]),
    )
