# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The encoder signal: of each unit the mean of an encoder's tokens, and the patterns that they make."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lidal3d.jobs.signals import SignalValues
from lidal3d.jobs.unit_patterns import TokensOfUnits, embeddings, patterns
from lidal3d.predictions.maps import FrameMaps
from lidal3d.predictions.tokens import Encoder
from lidal3d.scene.scene import Frame
from lidal3d.settings.geal import GealConfig


@dataclass(frozen=True)
class EncoderSignal:
    """A Signal that gives the arrays `embeddings` and `patterns`.

    Attributes:
        encoder: makes the tokens.
        arrays: which of the two.
        config: how patterns are made.
        most: K.
        seed: of the clusters.
    """

    encoder: Encoder
    arrays: tuple[str, ...]
    config: GealConfig
    most: int
    seed: int = 0
    name: str = "encoder"

    @classmethod
    def open(
        cls, encoder: Path, arrays: tuple[str, ...], config: GealConfig, kind: str, device: str = "cpu"
    ) -> EncoderSignal:
        """The signal of an encoder's file or folder, for a kind of unit. Raises DataError where there is none."""
        from lidal3d.learn.encoders import open_encoder

        return cls(open_encoder(encoder, device, config.cut), arrays, config, config.patterns_of(kind))

    @property
    def fingerprint(self) -> str:
        """As `Signal`."""
        how = f", {self.most} patterns, kept {self.config.kept:g}, {self.config.clusters}, seed {self.seed}"
        return f"{self.encoder.fingerprint}{how if 'patterns' in self.arrays else ''}"

    def of_units(
        self, frame: Frame, points: npt.NDArray[np.float32], maps: FrameMaps, unit: npt.NDArray[np.int32], units: int
    ) -> SignalValues:
        """As `Signal`; NaN for a unit of which no point or pixel has a token."""
        tokens = self.encoder.tokens(frame, points)
        pairs = TokensOfUnits.of(tokens, unit, units)
        arrays = {}
        if "embeddings" in self.arrays:
            arrays["embeddings"] = embeddings(tokens, pairs)
        if "patterns" in self.arrays:
            seed = (self.seed, zlib.crc32(frame.scene.id.encode()), frame.index)
            arrays["patterns"] = patterns(tokens, pairs, self.most, self.config, seed)
        return SignalValues(arrays=arrays)
