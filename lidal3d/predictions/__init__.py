# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Class probabilities and features on disk."""

from lidal3d.predictions.store import PredictionStore

__all__ = ["PredictionStore"]
