# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""GEAL: patterns of units from tokens, and the rule on pools: warm start, frames' parts, papers' settings, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from strategy_pools import TENTH, frame_facts, pool_of, with_budget

from lidal3d.config import Config
from lidal3d.errors import DataError, UsageError
from lidal3d.jobs.score import shared_settings, strategies_for_scores
from lidal3d.jobs.signals import SignalSources
from lidal3d.jobs.unit_patterns import TokensOfUnits, centers, embeddings, kept_tokens, patterns
from lidal3d.predictions.tokens import Tokens
from lidal3d.select.history import History
from lidal3d.select.selection import Selection
from lidal3d.settings.geal import GealConfig
from lidal3d.strategies import STRATEGIES, UnitPool

NAMES = ("geal", "freesel", "geal_v1")


def run(
    pool: UnitPool, config: Config = TENTH, name: str = "geal", seed: int = 0, history: History | None = None
) -> Selection:
    rng = np.random.default_rng(seed)
    return STRATEGIES[name].choose(pool, config, frame_facts, history or History(), rng)[0]


def keys(selection: Selection) -> list[tuple[str, int, int]]:
    return [(pick.key.scene, pick.key.frame, pick.key.unit) for pick in selection.picks]


# --- patterns of units ---------------------------------------------------------------------------------------------


def tokens_of(count: int = 40, elements: int = 600, groups: int = 2, seed: int = 0) -> tuple[Tokens, np.ndarray]:
    """Tokens with elements at random, −1 among them, and a unit of 4 for each element, −1 among them too."""
    rng = np.random.default_rng(seed)
    tokens = Tokens(
        rng.normal(size=(count, 6)).astype(np.float32),
        rng.random(count).astype(np.float32),
        rng.integers(-1, count, elements).astype(np.int32),
        (np.arange(count) * groups // count).astype(np.int32),
    )
    return tokens, rng.integers(-1, 4, elements).astype(np.int32)


def test_an_embedding_is_the_mean_over_the_units_elements():
    tokens, unit = tokens_of()
    found = embeddings(tokens, TokensOfUnits.of(tokens, unit, 5))
    for one in range(4):
        mine = tokens.of[(unit == one) & (tokens.of >= 0)]
        assert found[one] == pytest.approx(tokens.features[mine].mean(axis=0), abs=1e-6)
    assert np.isnan(found[4]).all()


def test_a_token_counts_for_a_unit_by_the_share_of_its_elements():
    tokens, unit = tokens_of()
    pairs = TokensOfUnits.of(tokens, unit, 4)
    for one, pair in enumerate(pairs):
        for token, elements, share in zip(pairs.token[pair], pairs.elements[pair], pairs.share[pair], strict=True):
            inside = (tokens.of == token) & (unit == one)
            assert (elements, share) == (inside.sum(), inside.sum() / (tokens.of == token).sum())
        assert set(pairs.token[pair]) == set(tokens.of[(unit == one) & (tokens.of >= 0)])


def test_all_of_a_frame_is_one_unit_with_whole_tokens():
    tokens, _ = tokens_of()
    whole = TokensOfUnits.of(tokens, np.zeros(600, np.int32), 1)
    assert (whole.share == 1).all()
    assert len(whole.token) == 40


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_each_tile_keeps_its_share_of_attention(share):
    tokens, _ = tokens_of()
    token, weight = np.arange(40), np.ones(40)
    kept = kept_tokens(tokens, token, weight, share)
    for group in (0, 1):
        inside = tokens.group == group
        held = tokens.saliency[inside & kept].sum() / tokens.saliency[inside].sum()
        assert held >= share
        assert (inside & kept).sum() == (inside.sum() if share == 1 else (1 if share == 0 else (inside & kept).sum()))
    one_group = replace(tokens, group=None)
    kept = kept_tokens(one_group, token, weight, share)
    assert kept.sum() == {0.0: 1, 1.0: 40}.get(share, kept.sum())


def test_an_encoder_that_attends_to_nothing_filters_nothing():
    tokens, _ = tokens_of()
    for saliency in (np.ones(40, np.float32), np.zeros(40, np.float32)):
        assert kept_tokens(replace(tokens, saliency=saliency), np.arange(40), np.full(40, 0.5), 0.5).all()


def test_patterns_are_the_centres_of_clusters_or_the_tokens_themselves():
    rng, means = np.random.default_rng(0), 10 * np.eye(3, 6, dtype=np.float32)
    features = np.repeat(means, (9, 6, 3), axis=0) + 0.01 * rng.normal(size=(18, 6)).astype(np.float32)
    for clusters in ("euclidean", "cosine"):
        found = centers(features, np.ones(18), 3, clusters, np.random.default_rng(1))
        assert found == pytest.approx(np.stack([features[:9].mean(0), features[9:15].mean(0), features[15:].mean(0)]))
    # Of different lengths and one direction, only "cosine" sees one thing.
    long = np.concatenate([means[:2], 5 * means[:1], 5 * means[1:2]])
    found = centers(long, np.array([1.0, 2, 1, 2]), 2, "cosine", np.random.default_rng(1))
    assert found == pytest.approx(np.stack([3 * means[1], 3 * means[0]]))
    assert np.array_equal(centers(features[:3], np.ones(3), 3, "euclidean", rng), features[:3])
    weighted = centers(features, np.arange(18.0), 1, "euclidean", rng)
    assert weighted[0] == pytest.approx(np.average(features, axis=0, weights=np.arange(18.0)), rel=1e-5)
    assert len(centers(np.ones((9, 4), np.float32), np.ones(9), 5, "euclidean", rng)) <= 5


def test_patterns_are_padded_and_the_same_again():
    tokens, unit = tokens_of()
    pairs = TokensOfUnits.of(tokens, unit, 5)
    config = GealConfig(kept=0.0)
    few = patterns(tokens, pairs, 4, config, (0, 1))
    assert few.shape == (5, 4, 6)
    # Two tiles, one token each.
    assert np.isfinite(few).all(axis=2).sum(axis=1).tolist() == [2, 2, 2, 2, 0]
    config = GealConfig(kept=0.9)
    first, again = (patterns(tokens, pairs, 4, config, (0, 1)) for _ in range(2))
    assert np.isfinite(first[:4]).all()
    assert first.tobytes() == again.tobytes()
    one = patterns(tokens, pairs, 1, GealConfig(kept=1.0), (0,))[:4, 0]
    for unit_, pair in enumerate(pairs):
        if pair.stop > pair.start:
            mean = np.average(tokens.features[pairs.token[pair]], axis=0, weights=pairs.share[pair])
            assert one[unit_] == pytest.approx(mean, abs=1e-5)
    empty = TokensOfUnits.of(replace(tokens, of=tokens.of[:0]), unit[:0], 0)
    assert patterns(tokens, empty, 4, config, (0,)).shape == (0, 4, 6)
    assert embeddings(tokens, empty).shape == (0, 6)


# --- the rule ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_what_is_labelled_is_covered(name):
    pool = pool_of(kind="image")
    copy = pool.patterns.copy()
    labelled = (pool.table.scene == 1) & (pool.table.frame == 2)
    # Half of the pool looks like what is labelled.
    copy[::2] = pool.patterns[np.flatnonzero(labelled)[0]]
    pool = replace(pool, patterns=copy)
    history = History(labelled_frames=frozenset({("b", 2)}))
    selection = run(pool, with_budget("60:regions"), name, history=history)
    rows = {
        (pool.table.scenes[s], f, u): row
        for row, (s, f, u) in enumerate(
            zip(pool.table.scene.tolist(), pool.table.frame.tolist(), pool.table.unit.tolist(), strict=True)
        )
    }
    assert all(rows[key] % 2 for key in keys(selection))
    assert all("cosine distance" in pick.reason for pick in selection.picks)
    assert "nothing is labelled yet" in run(pool, name=name).picks[0].reason


def test_a_smaller_budget_is_a_prefix():
    pool = pool_of(kind="image")
    many = keys(run(pool, with_budget("80:regions")))
    assert keys(run(pool, with_budget("25:regions"))) == many[:25]
    assert keys(run(pool, with_budget("25:regions"), seed=1)) != many[:25]


def test_no_frame_gives_more_than_its_part_until_all_have():
    pool = pool_of()
    strange = (pool.table.scene == 0) & (pool.table.frame == 2)
    features = 0.01 * pool.patterns + 1
    features[strange] = 100 * pool.patterns[strange]
    pool = replace(pool, patterns=features)
    of_strange = {}
    for share in (0.0, 1.0):
        config = with_budget("21:regions").updated({"geal": {"frame_share": share}})
        of_strange[share] = sum(key[:2] == ("a", 2) for key in keys(run(pool, config)))
    assert of_strange[0.0] == 8
    assert of_strange[1.0] == 1
    # What the parts leave goes to whoever is far.
    all_of_it = with_budget("100%").updated({"geal": {"frame_share": 0.01}})
    assert len(run(pool, all_of_it).picks) == (pool.table.scores["is_key_frame"] > 0).sum()


def test_first_versions_order_is_farthest_first():
    pool = pool_of(kind="image")
    selection = run(pool, with_budget("50:regions"), "geal_v1")
    distances = [float(pick.reason.rsplit(" ", 1)[1].rstrip(")")) for pick in selection.picks[1:]]
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize("name", NAMES)
def test_poor_pools(name):
    pool = pool_of(kind="image")
    alike = replace(pool, patterns=np.ones((240, 2, 3), np.float32))
    assert len(run(alike, with_budget("40:regions"), name).picks) == 40
    one = UnitPool(pool.table.take(np.arange(1)), patterns=pool.patterns[:1])
    assert len(run(one, with_budget("1:regions"), name).picks) == 1
    cases = [
        (replace(pool, patterns=None), with_budget("5:regions"), r"needs patterns of the units; .*give --encoder"),
        (pool, with_budget("9999:regions"), "pool has .* regions, 9999 requested"),
        (replace(pool, patterns=pool.patterns * np.float32(np.nan)), TENTH, "nothing to choose from"),
        (replace(pool, patterns=pool.patterns * 0), TENTH, "nothing to choose from"),
    ]
    for poor, config, words in cases:
        with pytest.raises((UsageError, DataError), match=words) as caught:
            run(poor, config, name)
        assert "\n" not in str(caught.value)


def test_papers_settings_go_with_their_names():
    config = Config().updated({"geal": {"patterns": 7, "sampling": "FDS"}})
    assert STRATEGIES["geal"].configured(config).geal == config.geal
    assert STRATEGIES["freesel"].configured(config).geal.sampling == "prob"
    assert STRATEGIES["freesel"].configured(config).geal.patterns_of("image") == 5
    assert STRATEGIES["geal_v1"].configured(config).geal.patterns_of("frame") == 25
    paper = Config.preset("paper")
    assert STRATEGIES["freesel"].configured(paper).geal == paper.geal
    assert [GealConfig().patterns_of(kind) for kind in ("image", "frame", "supervoxels")] == [10, 15, 1]


def test_other_patterns_than_the_papers_are_refused():
    pool = pool_of(kind="image")
    made = {"patterns": 10, "kept": 0.5, "clusters": "euclidean", "cut": "tiles"}
    scored = replace(pool, table=replace(pool.table, metadata={**pool.table.metadata, "geal": made}))
    assert run(scored).picks
    with pytest.raises(UsageError, match=r"'freesel' has geal.cut=squash, the pool was scored with tiles; score again"):
        run(scored, name="freesel")


def test_two_papers_patterns_cannot_be_made_in_one_go():
    freesel, v1, entropy = (STRATEGIES[name] for name in ("freesel", "geal_v1", "entropy"))
    with pytest.raises(
        UsageError, match=r"'freesel' and 'geal_v1' need other patterns .geal.patterns 5 and 25.; score"
    ):
        shared_settings([entropy, freesel, v1], Config())
    assert shared_settings([entropy, freesel], Config()).geal.patterns == 5
    assert shared_settings([entropy], Config()) == Config()
    names = {strategy.name for strategy in strategies_for_scores(["all"], SignalSources(encoder=frame_facts))}
    assert "geal" in names
    assert not names & {"freesel", "geal_v1"}
