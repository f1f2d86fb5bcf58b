# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Barlow Twins beside the labels: what it changes, what it leaves alone, and what is asked of its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pretrain_drives import TINY, pictures, street  # noqa: E402
from strategy_pools import frame_facts, pool_of, with_budget  # noqa: E402

from lidal3d.config import Config  # noqa: E402
from lidal3d.errors import UsageError  # noqa: E402
from lidal3d.learn.feeds import architecture_for, training_feed  # noqa: E402
from lidal3d.learn.joint import JointPart  # noqa: E402
from lidal3d.learn.model import Model  # noqa: E402
from lidal3d.learn.networks import build  # noqa: E402
from lidal3d.learn.options import NOTHING_BESIDE, beside  # noqa: E402
from lidal3d.learn.processes import Processes  # noqa: E402
from lidal3d.learn.train import train  # noqa: E402
from lidal3d.scene.labels import IGNORE, LabelMap  # noqa: E402
from lidal3d.scene.scene import Frame  # noqa: E402
from lidal3d.select.history import History  # noqa: E402
from lidal3d.strategies import STRATEGIES  # noqa: E402

MAP = LabelMap("tiny", ("ground", "wall", "pole"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)), {0: 0, 1: 1, 2: 2}, (0, 1, 2))
SPARSE, IMAGE = street(), pictures()
CONFIG = TINY.updated({"train": {"steps": 4, "width": 0.1, "voxel_m": 0.5, "class_balance": 0}, "joint": {"weight": 1}})


def truth_of(points: np.ndarray) -> np.ndarray:
    """What stands where: ground below, the wall far left, poles else; of pictures columns of three kinds."""
    if points.shape[1] == 5:
        return (points[:, 0] // 32).astype(np.uint8)
    return np.where(points[:, 2] < -1.6, 0, np.where(points[:, 1] > 5, 1, 2)).astype(np.uint8)


def few(frame: Frame) -> tuple[np.ndarray, None]:
    """Every thirtieth point's label."""
    points = frame.points()
    labels = np.full(len(points), IGNORE, np.uint8)
    labels[::30] = truth_of(points)[::30]
    return labels, None


def trained(
    config: Config, scene: object = SPARSE, folder: Path | None = None, stop: int = 0, **others: object
) -> Model:
    frames = list(scene)  # type: ignore[call-overload]

    def progress(step: int, loss: float) -> None:
        if step == stop:
            raise KeyboardInterrupt

    return train(
        frames[:1], MAP, config.train, few, None, progress, folder=folder, beside=beside(config, frames), **others
    )


def weights_of(model: Model) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in model.network.state_dict().values())


@pytest.mark.parametrize("scene", [SPARSE, IMAGE], ids=["sweeps", "pictures"])
def test_it_is_learnt_beside_the_labels_and_never_reads_one(scene: object) -> None:
    """The frames' own labels raise when they are read."""
    alone = CONFIG.updated({"joint": {"weight": 0}})
    assert beside(alone, list(SPARSE)) == NOTHING_BESIDE
    joint, again = trained(CONFIG, scene), trained(CONFIG, scene)
    assert weights_of(joint) == weights_of(again)
    without = trained(alone, scene)
    assert weights_of(joint) != weights_of(without)
    assert joint.settings["joint"]["joint"]["weight"] == 1
    # The model's file holds the network alone.
    assert joint.network.state_dict().keys() == without.network.state_dict().keys()


def test_a_cut_off_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    config = CONFIG.updated({"train": {"checkpoint_every": 2}})
    with pytest.raises(KeyboardInterrupt):
        trained(config, folder=tmp_path, stop=3)
    assert weights_of(trained(config, folder=tmp_path)) == weights_of(trained(config))


def test_the_twins_loss_falls_when_it_is_all_that_is_learnt() -> None:
    config = CONFIG.updated({"joint": {"frames": 2}})
    network = build(architecture_for(MAP, config.train, [SPARSE[0]])).train()
    part = JointPart(
        network.architecture.channels[-1], list(SPARSE), training_feed(network.architecture, config.train), config, 0
    )
    optimiser = torch.optim.AdamW([*network.parameters(), *part.parameters()], 0.01)
    losses = []
    for number in range(1, 13):
        loss = part(network, None, torch.zeros(1), (), number)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])
    # What a step sees depends on its number alone.
    with torch.no_grad():
        again = [float(part(network, None, torch.zeros(1), (), number)) for number in (3, 4, 3)]
    assert again[0] == pytest.approx(again[2], rel=1e-5)
    assert again[0] != again[1]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"joint.weight: joint training takes one process, not 2"):
        trained(CONFIG.updated({"train": {"batch": 2}}), processes=Processes(0, 2, 2))
    with pytest.raises(UsageError, match=r"pretrain.views=camera: joint training reads one sensor"):
        trained(CONFIG.updated({"pretrain": {"views": "camera"}}))


@pytest.mark.parametrize("acquisition", ["entropy", "margin", "least_confidence"])
def test_dalbt_asks_as_its_acquisition_does(acquisition: str) -> None:
    config = with_budget("12:regions").updated({"joint": {"acquisition": acquisition}})

    def keys(name: str) -> list[object]:
        rng = np.random.default_rng(0)
        return [pick.key for pick in STRATEGIES[name].choose(pool_of(), config, frame_facts, History(), rng)[0].picks]

    assert keys("dalbt") == keys(acquisition)


def test_an_experiment_of_it_has_to_train_jointly() -> None:
    from lidal3d.rounds.config import ExperimentConfig
    from lidal3d.rounds.experiment import _refuse_stages

    fields = {"world": {"simulate": {"frames": 4}, "validation": ["01"]}, "strategies": {"dalbt": {}}}
    with pytest.raises(UsageError, match=r"row 'dalbt': joint.weight is 0"):
        _refuse_stages(ExperimentConfig.model_validate(fields), "dalbt")
    fields["strategies"]["dalbt"] = {"config": {"joint": {"weight": 1}}}
    _refuse_stages(ExperimentConfig.model_validate(fields), "dalbt")
