# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Selection from a score table: candidates, ranking, history, pseudo-labels, reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.scores.table import ScoreTable
from lidal3d.select.active import in_order, select_units
from lidal3d.select.history import History, history_of
from lidal3d.select.lidal_score import divergence_of_entropy, lidal_score
from lidal3d.select.pseudo import nothing, select_pseudo
from lidal3d.select.reason import number, percent, pseudo_reason, reason
from lidal3d.select.selection import Pick, UnitKey

CLASSES = ("car", "person", "road", "pole")


def facts(scene: str, frame: int) -> tuple[str, int]:
    return f"{frame:06d}", 1000 * frame


def score_table(seed: int = 0, units: int = 600, extent_m: float = 200.0) -> ScoreTable:
    """Two scenes of frames with 20 units; every third frame is no key frame, every seventh unit has no match."""
    rng = np.random.default_rng(seed)
    row = np.arange(units)
    coverage = np.where(row % 7 == 0, 0.0, rng.random(units))
    divergence = np.where(coverage > 0, rng.gamma(0.3, 0.2, units), np.nan)
    entropy = rng.random(units)
    frame = (row // 20) % (units // 40)
    return ScoreTable(
        scenes=("a", "b"),
        scene=(row >= units // 2).astype(np.int32),
        frame=frame.astype(np.int32),
        unit=(row % 20).astype(np.int32),
        points=rng.integers(5, 60, units),
        center_m=rng.uniform(0, extent_m, (units, 3)) * [1, 1, 0.01],
        scores={
            "divergence": divergence,
            "divergence_paper": np.nan_to_num(coverage * divergence),
            "entropy": entropy,
            "entropy_unmatched": np.where(coverage < 1, np.clip(entropy + 0.1, 0, None), np.nan),
            "coverage": coverage,
            "matches": 20 * coverage,
            "confidence": 1 - entropy / 2,
            "predicted_class": rng.integers(0, 4, units).astype(float),
            "is_key_frame": (frame % 3 != 1).astype(float),
        },
        kind="grid",
        metadata={"classes": list(CLASSES)},
    )


def changed(config: Config, **groups: dict) -> Config:
    return config.updated(groups)


def keys(picks: tuple[Pick, ...]) -> set[UnitKey]:
    return {pick.key for pick in picks}


DEFAULT = Config.preset("default")
PAPER = Config.preset("paper")
TENTH = changed(DEFAULT, select={"budget": "10%"}, pseudo={"budget": "10%"})
PAPER_TENTH = changed(PAPER, select={"budget": "10%"}, pseudo={"budget": "10%"})


# --- the ranking score ---------------------------------------------------------------------------------------------


def test_lidal_score_is_the_divergence_of_a_region_that_is_seen_whole() -> None:
    ones, divergence = np.ones(4), np.array([0.0, 0.1, 2.0, 0.3])
    got = lidal_score(ones, divergence, np.full(4, np.nan), np.array([0.1, 0.2, 0.3, 0.4]))
    assert got.tolist() == divergence.tolist()


def test_an_unmatched_region_gets_the_divergence_to_expect_at_its_entropy() -> None:
    coverage = np.array([1.0, 1.0, 1.0, 0.0, 0.6])
    divergence = np.array([0.1, 0.2, 0.8, np.nan, 0.4])
    entropy = np.array([0.1, 0.3, 0.5, 0.6, 0.4])
    unmatched = np.array([np.nan, np.nan, np.nan, 0.6, 0.35])
    got = lidal_score(coverage, divergence, unmatched, entropy)
    # D rises with E here, so the regression goes through the four seen regions and is flat beyond the last.
    at = np.interp([0.6, 0.35], [0.1, 0.3, 0.4, 0.5], [0.1, 0.2, 0.4, 0.8])
    assert got == pytest.approx([0.1, 0.2, 0.8, at[0], 0.6 * 0.4 + 0.4 * at[1]])


def test_a_hardly_seen_region_does_not_teach_what_to_expect() -> None:
    coverage, divergence = np.array([1.0, 0.4, 0.0]), np.array([0.1, 9.0, np.nan])
    entropy, unmatched = np.array([0.2, 0.2, 0.2]), np.array([np.nan, 0.2, 0.2])
    assert lidal_score(coverage, divergence, unmatched, entropy)[2] == pytest.approx(0.1)


def test_without_any_match_the_order_is_that_of_entropy() -> None:
    entropy = np.array([0.3, 0.9, 0.1])
    got = lidal_score(np.zeros(3), np.full(3, np.nan), entropy, entropy)
    assert got.tolist() == entropy.tolist()


def test_a_region_about_which_nothing_is_known_has_no_score() -> None:
    got = lidal_score(np.array([0.0, np.nan]), np.full(2, np.nan), np.array([np.nan, 0.2]), np.array([0.1, 0.2]))
    assert np.isnan(got).all()


@settings(max_examples=80, deadline=None)
@given(
    pairs=arrays(float, st.tuples(st.integers(0, 9), st.just(2)), elements=st.floats(0, 8, width=16)),
    asked=arrays(float, st.integers(2, 9), elements=st.floats(0, 9, width=16)),
)
def test_the_expectation_is_monotone_stays_inside_and_ignores_the_order_of_rows(
    pairs: np.ndarray, asked: np.ndarray
) -> None:
    got = divergence_of_entropy(np.sort(asked), *pairs.T)
    assert (np.diff(got) >= 0).all()
    assert got.tolist() == divergence_of_entropy(np.sort(asked), *pairs[::-1].T).tolist()
    if len(pairs):
        assert got.min() >= pairs[:, 1].min() - 1e-12
        assert got.max() <= pairs[:, 1].max() + 1e-12


def test_the_expectation_is_a_mean_not_an_extreme() -> None:
    """Divergence that has nothing to do with entropy: any entropy then leads to the mean divergence."""
    rng = np.random.default_rng(1)
    got = divergence_of_entropy(np.linspace(0, 3, 50), rng.uniform(0, 3, 20_000), rng.gamma(1, 1, 20_000))
    assert got == pytest.approx(np.ones(50), abs=0.15)


def test_a_relation_that_is_there_is_found() -> None:
    rng = np.random.default_rng(2)
    entropy = rng.uniform(0, 3, 20_000)
    got = divergence_of_entropy(np.array([0.5, 1.5, 2.5]), entropy, entropy**2 + rng.normal(0, 0.1, 20_000))
    assert got == pytest.approx(np.array([0.5, 1.5, 2.5]) ** 2, abs=0.05)


# --- what is asked of people ---------------------------------------------------------------------------------------


def test_picks_are_candidates_in_order_of_score_and_within_budget() -> None:
    table = in_order(score_table())
    selection = select_units(table, TENTH.select, facts)
    key_points = int(table.points[table.score("is_key_frame") > 0].sum())
    assert selection.budget == key_points // 10
    assert selection.used == sum(pick.points for pick in selection.picks) <= selection.budget
    assert selection.budget - selection.used < 10  # the rest is less than the smallest unit that may be chosen
    assert [pick.rank for pick in selection.picks] == list(range(1, len(selection.picks) + 1))
    scores = [pick.scores["lidal"] for pick in selection.picks]
    assert scores == sorted(scores, reverse=True)
    assert all(pick.scores["is_key_frame"] == 1 and pick.points >= 10 for pick in selection.picks)
    assert any(pick.scores["coverage"] == 0 for pick in selection.picks)  # unknown isn't certain
    best = table.score("lidal")[(table.score("is_key_frame") > 0) & (table.points >= 10)].max()
    assert scores[0] == best or any(pick.suppressed for pick in selection.picks)
    assert (selection.picks[0].frame_name, selection.picks[0].timestamp_ns) == facts("", selection.picks[0].key.frame)


@pytest.mark.parametrize("budget", ["25:regions", "3:frames", "500:seconds", "700:points"])
def test_every_currency_is_kept_and_adds_up(budget: str) -> None:
    table = in_order(score_table())
    config = changed(DEFAULT, select={"budget": budget, "seconds_per_1000_points": 100})
    selection = select_units(table, config.select, facts)
    amount, currency = budget.split(":")
    assert (selection.budget, selection.currency) == (float(amount), currency)
    assert 0 < selection.used <= selection.budget
    assert selection.used == pytest.approx(sum(pick.cost for pick in selection.picks))
    if currency == "frames":
        assert len({(pick.key.scene, pick.key.frame) for pick in selection.picks}) == 3
    if currency == "seconds":
        assert selection.picks[0].cost == pytest.approx(20 + 0.1 * selection.picks[0].points)


def test_shuffled_rows_and_scenes_give_the_same_selection() -> None:
    table = score_table()
    rng = np.random.default_rng(5)
    shuffled = table.take(rng.permutation(len(table)))
    shuffled = replace(shuffled, scenes=("b", "a"), scene=1 - shuffled.scene)
    for config in (TENTH, PAPER_TENTH):
        first = select_units(in_order(table), config.select, facts)
        second = select_units(in_order(shuffled), config.select, facts)
        assert first == second or repr(first) == repr(second)  # NaN is not equal to itself
        pseudo = [select_pseudo(in_order(t), config, facts, first) for t in (table, shuffled)]
        assert repr(pseudo[0]) == repr(pseudo[1])


def test_what_was_suppressed_is_near_and_was_not_chosen() -> None:
    table = in_order(score_table(extent_m=60.0))
    selection = select_units(table, TENTH.select, facts)
    rows = zip(table.scene, table.frame, table.unit, table.center_m, strict=True)
    centers = {(table.scenes[scene], frame, unit): center_m for scene, frame, unit, center_m in rows}
    left_out = [(pick, key) for pick in selection.picks for key in pick.suppressed]
    assert left_out
    for pick, key in left_out:
        assert key not in keys(selection.picks)
        assert np.linalg.norm(centers[key.scene, key.frame, key.unit] - np.array(pick.center_m)) < 5.0
    assert len({key for _, key in left_out}) == len(left_out)


def test_earlier_rounds_are_neither_chosen_again_nor_approached() -> None:
    table = in_order(score_table(extent_m=60.0))
    first = select_units(table, TENTH.select, facts)
    empty = select_pseudo(table, changed(TENTH, pseudo={"budget": "0"}), facts, first)
    history = history_of([(first, empty)])
    second = select_units(table, TENTH.select, facts, history)
    third = select_units(table, TENTH.select, facts, history_of([(first, empty), (second, empty)]))
    assert second.picks
    rounds = (first, second, third)
    assert len(set().union(*(keys(s.picks) for s in rounds))) == sum(len(s.picks) for s in rounds)
    every = [pick for s in rounds for pick in s.picks]
    for i, a in enumerate(every):
        for b in every[:i]:
            assert a.key.scene != b.key.scene or np.linalg.norm(np.subtract(a.center_m, b.center_m)) >= 5.0
    near = select_units(table, changed(TENTH, select={"earlier_rounds": False}).select, facts, history)
    assert not keys(near.picks) & keys(first.picks)
    assert near.picks != second.picks


def test_frames_that_people_labelled_whole_are_passed_over() -> None:
    table = in_order(score_table())
    first = select_units(table, TENTH.select, facts)
    frame = (first.picks[0].key.scene, first.picks[0].key.frame)
    history = History(labelled_frames=frozenset({frame, ("elsewhere", 3)}))
    second = select_units(table, TENTH.select, facts, history)
    pseudo = select_pseudo(table, PAPER_TENTH, facts, second, history)
    assert frame not in {(p.key.scene, p.key.frame) for p in (*second.picks, *pseudo.picks)}


def test_an_earlier_round_on_other_units_is_refused() -> None:
    table = in_order(score_table())
    first = select_units(table, TENTH.select, facts)
    picks = first.picks
    with pytest.raises(DataError, match="chose grid units, this table has kmeans"):
        select_units(replace(table, kind="kmeans"), TENTH.select, facts, History(picks))
    had = picks[0].points
    with pytest.raises(DataError, match=f"{had} points in an earlier round, {had + 1} in this"):
        select_units(replace(table, points=table.points + 1), TENTH.select, facts, History(picks))
    gone = replace(picks[0], key=UnitKey("a", 999, 0))
    with pytest.raises(DataError, match=r"frame 999 unit 0: .* 0 in this table"):
        select_units(table, TENTH.select, facts, History((gone,)))


def test_paper_rule_ranks_by_its_divergence_and_passes_over_last_rounds_pseudo_labels() -> None:
    table = in_order(score_table(extent_m=2000.0))
    first = select_units(table, PAPER_TENTH.select, facts)
    scores = table.score("divergence_paper")
    usable = np.flatnonzero(table.score("is_key_frame") > 0)
    order = usable[np.argsort(-scores[usable], kind="stable")]
    spent = np.cumsum(table.points[order])  # units are kilometres apart: the released loop just fills up
    expected = order[: np.searchsorted(spent, round(0.1 * table.points[usable].sum()), side="right")]
    rows = {UnitKey(table.scenes[table.scene[r]], int(table.frame[r]), int(table.unit[r])) for r in expected}
    assert keys(first.picks) == rows
    pseudo = select_pseudo(table, PAPER_TENTH, facts, first)
    later = select_units(table, PAPER_TENTH.select, facts, history_of([(first, pseudo)]))
    again = select_pseudo(table, PAPER_TENTH, facts, later, history_of([(first, pseudo)]))
    assert not keys(later.picks) & (keys(first.picks) | keys(pseudo.picks))
    assert not keys(again.picks) & (keys(first.picks) | keys(pseudo.picks) | keys(later.picks))
    with pytest.raises(UsageError, match="'paper' counts points"):
        select_units(table, changed(PAPER, select={"budget": "2:frames"}).select, facts)


def test_one_row() -> None:
    table = in_order(score_table().take(np.array([1])))
    config = changed(DEFAULT, select={"budget": "1:regions", "min_points": 1})
    assert keys(select_units(table, config.select, facts).picks) == {UnitKey("a", 0, 1)}


@pytest.mark.parametrize("config", [DEFAULT, PAPER])
def test_an_empty_table_says_so(config: Config) -> None:
    with pytest.raises(DataError, match="nothing to choose from: 0 units scored"):
        select_units(in_order(score_table().take(np.arange(0))), config.select, facts)


def test_budget_over_the_pool_names_both_numbers() -> None:
    table = in_order(score_table())
    with pytest.raises(UsageError, match=r"pool has \d+ regions, 1000 requested"):
        select_units(table, changed(DEFAULT, select={"budget": "1000:regions"}).select, facts)


def test_an_unknown_score_names_the_columns() -> None:
    with pytest.raises(DataError, match="no column 'beauty'"):
        select_units(in_order(score_table()), changed(DEFAULT, select={"score": "beauty"}).select, facts)


# --- pseudo-labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TENTH, PAPER_TENTH])
def test_pseudo_labels_never_touch_what_people_label(config: Config) -> None:
    table = in_order(score_table(units=2000))
    config = changed(config, pseudo={"min_coverage": 0, "max_divergence": 99, "max_entropy": 99})
    first = select_units(table, config.select, facts)
    pseudo = select_pseudo(table, config, facts, first)
    history = history_of([(first, pseudo)])
    second = select_units(table, config.select, facts, history)
    later = select_pseudo(table, config, facts, second, history)
    people = keys(first.picks) | keys(second.picks)
    assert pseudo.picks
    assert later.picks
    assert not keys(pseudo.picks) & keys(first.picks)
    assert not keys(later.picks) & people


def test_pseudo_thresholds_and_order() -> None:
    table = in_order(score_table(units=2000))
    selection = select_units(table, TENTH.select, facts)
    pseudo = select_pseudo(table, TENTH, facts, selection)
    assert pseudo.picks
    for pick in pseudo.picks:
        assert pick.scores["divergence"] <= TENTH.pseudo.max_divergence
        assert pick.scores["entropy"] <= TENTH.pseudo.max_entropy
        assert pick.scores["coverage"] >= TENTH.pseudo.min_coverage
        assert pick.scores["is_key_frame"] == 1
    divergences = [pick.scores["divergence"] for pick in pseudo.picks]
    assert divergences == sorted(divergences)
    assert pseudo.used == sum(pick.points for pick in pseudo.picks) <= pseudo.budget
    assert pseudo.strategy == "lidal pseudo"


def test_no_class_gets_more_than_its_share() -> None:
    table = in_order(score_table(units=4000, extent_m=2000.0))
    table = table.with_scores(predicted_class=np.where(np.arange(4000) % 10 == 0, 1.0, 0.0))
    loose = {"budget": "3%", "max_entropy": 99, "max_divergence": 99, "min_coverage": 0}
    selection = select_units(table, DEFAULT.select, facts)
    for share in (0.2, 0.6, 1.0):
        config = changed(DEFAULT, pseudo={**loose, "max_class_share": share})
        pseudo = select_pseudo(table, config, facts, selection)
        spent = [sum(p.points for p in pseudo.picks if p.scores["predicted_class"] == c) for c in (0.0, 1.0)]
        assert max(spent) <= share * pseudo.budget
        assert spent[0] > (share - 0.1) * pseudo.budget or share == 1.0


def test_of_two_close_pseudo_units_the_less_entropic_stays() -> None:
    table = score_table().take(np.array([1, 2]))
    table = replace(table, center_m=np.array([[0.0, 0, 0], [3, 0, 0]]), points=np.array([50, 50]))
    table = in_order(table).with_scores(
        divergence=np.array([0.01, 0.02]), entropy=np.array([0.2, 0.1]), coverage=np.ones(2), is_key_frame=np.ones(2)
    )
    config = changed(DEFAULT, pseudo={"budget": "2:regions", "max_class_share": 1})
    assert [pick.key.unit for pick in select_pseudo(table, config, facts, nothing()).picks] == [2]


def test_paper_skips_a_divergence_of_exactly_zero_and_default_a_unit_without_matches() -> None:
    table = in_order(score_table(units=2000))
    assert (table.score("divergence_paper") == 0).any()
    everything = {"max_divergence": 99, "max_entropy": 99, "min_coverage": 0, "max_class_share": 1, "budget": "60%"}
    paper = select_pseudo(table, changed(PAPER, pseudo=everything), facts, nothing())
    default = select_pseudo(table, changed(DEFAULT, pseudo=everything), facts, nothing())
    assert min(pick.scores["divergence_paper"] for pick in paper.picks) > 0
    assert min(pick.scores["coverage"] for pick in default.picks) > 0


@pytest.mark.parametrize("budget", ["0", "0%", "0 %"])
def test_pseudo_labels_can_be_turned_off(budget: str) -> None:
    table = in_order(score_table())
    pseudo = select_pseudo(table, changed(DEFAULT, pseudo={"budget": budget}), facts, nothing())
    assert (pseudo.picks, pseudo.budget) == ((), 0)


# --- reasons -------------------------------------------------------------------------------------------------------


def test_reasons_say_what_is_known() -> None:
    seen = {"coverage": 0.9, "divergence": 0.83, "matches": 13.2, "entropy": 0.4, "predicted_class": 0.0}
    assert reason(seen, "lidal", 0.004, CLASSES) == (
        "the model contradicts itself across 14 views of this region (divergence 0.83, top 0.4 % of the drive); "
        "mostly 'car'"
    )
    unseen = {"coverage": 0.0, "divergence": np.nan, "entropy": 1.234}
    assert reason(unseen, "lidal", 0.5) == (
        "no other frame sees this region, and the model is unsure of it (entropy 1.23, top 50 % of the drive)"
    )
    partly = reason({**seen, "coverage": 0.25}, "divergence", 0.02, CLASSES)
    assert "only 25 % of it is seen by other frames" in partly
    assert reason({"entropy": 0.5}, "entropy", 1.0) == "entropy is 0.50 (top 100 % of the drive)"
    assert pseudo_reason({**seen, "divergence": 0.0012}, "divergence", CLASSES) == (
        "14 views of this region agree (divergence 0.0012, entropy 0.40); mostly 'car'"
    )


@pytest.mark.parametrize(("share", "text"), [(1, "100 %"), (0.0996, "10 %"), (0.042, "4.2 %"), (0.00012, "0.012 %")])
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0.00"), (np.nan, "unknown"), (11.51, "11.51"), (0.0123, "0.012")])
def test_number(value: float, text: str) -> None:
    assert number(value) == text
