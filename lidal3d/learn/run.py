# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Which predictions are the same: a digest of the model and the settings that they depend on."""

from __future__ import annotations

import hashlib

from lidal3d.files import fingerprint
from lidal3d.learn.model import Model
from lidal3d.settings.predict import PredictConfig


def run_fingerprint(model: Model, config: PredictConfig) -> str:
    """A digest of all that probabilities depend on beside the sweep: weights, voxel size, views, seed, type.

    Whether features or members are saved beside them changes nothing in them.
    """
    digest = hashlib.sha256()
    for name, tensor in model.network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.cpu().numpy().tobytes())
    architecture = model.network.architecture.to_dict()
    settings = config.model_dump(exclude={"features", "members"})
    return fingerprint(
        [digest.hexdigest(), [architecture, list(model.classes), model.voxel_m, model.augmentation, settings]]
    )
