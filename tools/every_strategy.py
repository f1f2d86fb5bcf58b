# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Choose by every strategy from one table of scores, and say what each picks or what it lacks.

    lidal3d score DRIVE --model MODEL --encoder ENCODER --earlier-model EARLIER --strategy all --out scores
    python tools/every_strategy.py scores --budget 2% --out every

One line of a Markdown table each: units, frames, what was spent, and the reason of the first pick; or the one line in
which the strategy refuses. The selections lie in OUT, as `lidal3d select` leaves them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lidal3d.config import Config, load_config
from lidal3d.errors import LidalError
from lidal3d.jobs.select import SelectOutcome, labelled_frames, select_job
from lidal3d.strategies import STRATEGIES

HEAD = "| strategy | units | frames | spent | the first pick, or what is missing |\n|---|---|---|---|---|"


def line(name: str, scores: Path, out: Path, config: Config, given: argparse.Namespace) -> str:
    """One strategy's line."""
    source = given.source if "source" in STRATEGIES[name].needs else None
    try:
        labelled = labelled_frames(given.labelled, scores, None, None)
        outcome = select_job(
            scores, out / name, config, given.earlier, strategy=name, labelled_frames=labelled, source_scores=source
        )
    except LidalError as error:
        return f"| `{name}` | – | – | – | refuses: {str(error).replace('|', '/')} |"
    return f"| `{name}` | {' | '.join(facts_of(outcome))} |"


def facts_of(outcome: SelectOutcome) -> tuple[str, str, str, str]:
    """Units, frames, share of the budget, first reason."""
    picks, selection = outcome.selection.picks, outcome.selection
    frames = len({(pick.key.scene, pick.key.frame) for pick in picks})
    reason = picks[0].reason.replace("|", "/") if picks else "nothing fits the budget"
    return f"{len(picks):,}", f"{frames:,}", f"{selection.used / selection.budget:.0%}", reason


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path, help="a folder of `lidal3d score`")
    parser.add_argument("--out", type=Path, required=True, help="where the selections go, a folder each")
    parser.add_argument("--budget", default="1%", help="as of `lidal3d select`")
    parser.add_argument("--earlier", action="append", type=Path, default=[], help="as of `lidal3d select`")
    parser.add_argument("--labelled", action="append", default=[], help="as of `lidal3d select`")
    parser.add_argument("--source", type=Path, help="scores of a labelled drive, for strategies that compare with one")
    parser.add_argument("--strategy", action="append", choices=STRATEGIES, help="only these; all by default")
    given = parser.parse_args()
    try:
        config = load_config("default", given.scores / "config.yaml").updated({"select": {"budget": given.budget}})
    except LidalError as error:
        sys.exit(f"{error}")
    print(HEAD)
    for name in given.strategy or STRATEGIES:
        print(line(name, given.scores, given.out, config, given), flush=True)


if __name__ == "__main__":
    main()
