# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Write the table of docs/strategies.md anew: `python tools/strategies_table.py`. The texts around it stay."""

from __future__ import annotations

from pathlib import Path

from lidal3d.files import write_text
from lidal3d.select.budget import CURRENCIES
from lidal3d.strategies import STRATEGIES, Strategy
from lidal3d.strategies.kinds import kinds_in_words

PAGE = Path(__file__).parents[1] / "docs" / "strategies.md"
HEAD = "| name | what it asks for | needs | score columns | units | budgets | source |\n|---|---|---|---|---|---|---|\n"
AFTER = "\n\n**Needs.**"


def row(strategy: Strategy) -> str:
    """One line of the table."""
    cells = (
        f"`{strategy.name}`",
        strategy.asks,
        ", ".join(sorted(strategy.needs)) or "–",
        ", ".join(f"`{column}`" for column in strategy.columns) or "–",
        kinds_in_words(strategy.possible_kinds),
        "all" if strategy.currencies == CURRENCIES else ", ".join(strategy.currencies),
        strategy.paper,
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(HEAD)[0], text.split(AFTER, 1)[1]
    write_text(PAGE, before + HEAD + "\n".join(map(row, STRATEGIES.values())) + AFTER + after)
