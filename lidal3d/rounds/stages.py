# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""GIST and RIST: a round's model trained in stages, each on people's labels alone or on pseudo-labels alone.

Teh et al., "The GIST and RIST of Iterative Self-Training for Semi-Supervised Segmentation", arXiv 2103.17105: mixing both
at a fixed ratio, again and again, drifts towards what the model believes anyway. Stage t trains on what people labelled
(λ = 0) or on what the model of stage t − 1 predicts for the pseudo-labelled units (λ = 1); stage 0 is the model that
chose them. GIST tries both and keeps the better on held-out labels (a beam of one), RIST draws one; the best of all
stages is the round's model. Ties go to people's labels, then to the earlier stage.

    ROUND/stages/T-human/, T-pseudo/    candidates of stage T: model.safetensors, held_out.json; gone when all is done
    ROUND/stages.json                   what each stage learnt from, what it reached, and which one was returned

With fresh starts a training on people's labels doesn't depend on the stage before: it is done once, in stages/human.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lidal3d.config import Config
from lidal3d.files import replacing, write_json
from lidal3d.learn.evaluate import mean_iou
from lidal3d.rounds.config import TrainingSettings
from lidal3d.rounds.evaluation import confusion_on
from lidal3d.rounds.links import MODEL_FILE, STAGES_FILE, Link
from lidal3d.rounds.masks import LedgerLabels
from lidal3d.rounds.relabel import relabelled
from lidal3d.rounds.seeds import derived_rng
from lidal3d.rounds.training import train_model, training_frames
from lidal3d.rounds.world import World
from lidal3d.scene.labels import IGNORE

STAGES_FOLDER = "stages"
HELD_OUT_FILE = "held_out.json"
HUMAN, PSEUDO = "human", "pseudo"


@dataclass(frozen=True)
class Staged:
    """A round that is trained in stages.

    Attributes:
        link, world, config: whose, on what, with which settings.
        training: gist or rist, how many stages.
        number: of the round.
        folder, before: the round's files, and those of the round before.
        human, held_out: label sources of what people labelled, to train on and set aside.
        pseudo: label source of the pseudo-labelled units, as the model of the round before sees them.
    """

    link: Link
    world: World
    config: Config
    training: TrainingSettings
    number: int
    folder: Path
    before: Path
    human: LedgerLabels
    held_out: LedgerLabels
    pseudo: LedgerLabels


@dataclass(frozen=True)
class Candidate:
    """A trained stage: what it learnt from, where its model lies, and its mIoU on the held-out labels (or None)."""

    stage: int
    kind: str
    folder: Path
    miou: float | None


def train_in_stages(staged: Staged) -> None:
    """Write stages.json and the best stage's model into the round's folder, unless the model lies there."""
    if not (staged.folder / MODEL_FILE).is_file():
        tried = _all_stages(staged)
        best = min(map(_better, tried), key=lambda kept: (-_height(kept), kept.stage))
        write_json(staged.folder / STAGES_FILE, _summary(staged, tried, best))
        with replacing(staged.folder / MODEL_FILE) as temporary:
            shutil.copyfile(best.folder / MODEL_FILE, temporary)
    shutil.rmtree(staged.folder / STAGES_FOLDER, ignore_errors=True)


def _all_stages(staged: Staged) -> list[list[Candidate]]:
    """What was tried in each stage."""
    guesses, previous, tried = staged.pseudo, staged.before, []
    for stage in range(1, staged.training.stages + 1):
        if stage > 1 and guesses.records:
            guesses = _relabelled(staged, previous)
        kinds = _kinds(staged, stage, guesses)
        tried.append([_candidate(staged, stage, kind, guesses, previous) for kind in kinds])
        previous = _better(tried[-1]).folder
    return tried


def _better(candidates: Sequence[Candidate]) -> Candidate:
    """The highest on the held-out labels; of equals people's labels."""
    return min(candidates, key=lambda one: (-_height(one), one.kind != HUMAN))


def _height(candidate: Candidate) -> float:
    return -1.0 if candidate.miou is None else candidate.miou


def _relabelled(staged: Staged, previous: Path) -> LedgerLabels:
    source, link = staged.pseudo, staged.link
    assumed = relabelled(source.records, previous, staged.world, staged.config, source.partition, link, staged.number)
    return replace(source, assumed=assumed)


def _kinds(staged: Staged, stage: int, guesses: LedgerLabels) -> Sequence[str]:
    """What a stage tries. With no held-out label or no pseudo-label there is nothing to choose by, or from."""
    labelled = any((assumed.labels != IGNORE).any() for assumed in guesses.assumed.values())
    if not staged.held_out.records or not labelled:
        return (HUMAN,)
    if staged.training.kind == "gist":
        return HUMAN, PSEUDO
    drawn = derived_rng("rist", staged.link.seed, staged.number, stage).integers(2)
    return (PSEUDO if drawn else HUMAN,)


def _candidate(staged: Staged, stage: int, kind: str, guesses: LedgerLabels, previous: Path) -> Candidate:
    """Train and judge, or read what was judged before a kill."""
    link, world, config = staged.link, staged.world, staged.config
    fresh = link.experiment.start == "fresh"
    folder = staged.folder / STAGES_FOLDER / (HUMAN if kind == HUMAN and fresh else f"{stage}-{kind}")
    labels = staged.human if kind == HUMAN else guesses
    drawn = training_frames(labels, world, config.train, link.experiment.sampling)
    train_model(link, folder, world, config, labels, drawn, staged.number, None if fresh else previous)
    return Candidate(stage, kind, folder, _held_out_miou(staged, folder))


def _held_out_miou(staged: Staged, folder: Path) -> float | None:
    path = folder / HELD_OUT_FILE
    if not path.is_file():
        frames = staged.held_out.frames(staged.world.train_by_id)
        answers = staged.held_out
        confusion = confusion_on(frames, lambda frame: answers(frame)[0], folder, staged.world, staged.link.device)
        miou = mean_iou(confusion)
        write_json(path, {"miou": None if np.isnan(miou) else miou})
    found = json.loads(path.read_text(encoding="utf-8"))["miou"]
    return None if found is None else float(found)


def _summary(staged: Staged, tried: Sequence[Sequence[Candidate]], best: Candidate) -> dict[str, Any]:
    """stages.json."""
    return {
        "kind": staged.training.kind,
        "held_out": {**_amount(staged.held_out), "share_of_asked_points": _share(staged)},
        "learns_from": {HUMAN: _amount(staged.human), PSEUDO: _amount(staged.pseudo)},
        "stages": [
            {
                "stage": candidates[0].stage,
                "tried": [{"labels": one.kind, "held_out_miou": one.miou} for one in candidates],
                "kept": _better(candidates).kind,
            }
            for candidates in tried
        ],
        "returned_stage": best.stage,
    }


def _share(staged: Staged) -> float:
    """Of the points that people were asked about in rounds, how many are set aside."""
    aside = sum(record.points for record in staged.held_out.records)
    asked = aside + sum(record.points for record in staged.human.records if record.labeller == "human")
    return aside / asked if asked else 0.0


def _amount(labels: LedgerLabels) -> dict[str, int]:
    records = labels.records
    frames = {(record.scene, record.frame) for record in records}
    return {"frames": len(frames), "units": len(records), "points": sum(record.points for record in records)}
