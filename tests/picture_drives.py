# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A camera's pictures, random predictions of them, and a selection of their parts: what exports and reports are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lidal3d.config import Config
from lidal3d.jobs.score import score_drive
from lidal3d.jobs.select import select_job
from lidal3d.predictions import PredictionStore
from lidal3d.scene.open import open_drive
from lidal3d.sim import SimConfig, write_drive

FRAMES, WIDTH, HEIGHT, REDUCED = 3, 100, 32, 50


class Pictures:
    """A miniature drive, predictions of its camera's pictures at half their size, and a manifest of superpixels."""

    def __init__(self, folder: Path, kind: str = "superpixels", drive: Path | None = None) -> None:
        self.folder, self.drive = folder, drive or folder / "drive"
        if drive is None:
            config = SimConfig(frames=FRAMES, beams=16, columns=256, camera_width=WIDTH, camera_height=HEIGHT, seed=2)
            write_drive(config, self.drive, "semantickitti", "00")
        self.address = f"{self.drive}@image_2:{REDUCED}"
        (self.scene,) = open_drive(self.address)
        assert self.scene.label_map is not None
        self.classes = self.scene.label_map.classes
        self.store = PredictionStore(folder / "predictions", self.classes, "toy", 1)
        rng = np.random.default_rng(0)
        for frame in self.scene:
            rows = rng.dirichlet(np.full(len(self.classes), 0.2), len(frame.points()))
            self.store.write(self.scene.id, frame.name, rows.astype(np.float16))
        self.store.write_header()
        config = Config().updated(
            {
                "units": {"kind": kind, "superpixels": 20},
                "select": {"budget": "4:regions" if kind == "superpixels" else "2:regions"},
            }
        )
        scores = folder / "scores"
        score_drive([self.scene], self.store, scores, config, drive=Path(self.address), strategies=("entropy",))
        self.selection = folder / "queue"
        select_job(scores, self.selection, config, strategy="entropy")
