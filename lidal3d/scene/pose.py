# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms as float64 4×4 matrices. `a_SE3_b` maps coordinates in frame b to coordinates in frame a."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

RIGIDITY_TOLERANCE = 1e-3  # of `rigidity_error`; poses in text with four digits pass


def inverse(a_SE3_b: Float64) -> Float64:
    """The inverse of one or many rigid transforms, shape (..., 4, 4); exact for rotations, no matrix solve."""
    result = np.zeros_like(a_SE3_b, dtype=np.float64)
    rotation = np.swapaxes(a_SE3_b[..., :3, :3], -1, -2)
    result[..., :3, :3] = rotation
    result[..., :3, 3] = -np.einsum("...ij,...j->...i", rotation, a_SE3_b[..., :3, 3])
    result[..., 3, 3] = 1.0
    return result


def transform(a_SE3_b: Float64, xyz_b: npt.NDArray[np.floating]) -> Float64:
    """Coordinates (N, 3) in frame b, mapped to frame a, in float64."""
    return np.asarray(xyz_b, dtype=np.float64) @ a_SE3_b[:3, :3].T + a_SE3_b[:3, 3]


def from_rotation_translation(rotation: npt.ArrayLike, translation: npt.ArrayLike) -> Float64:
    """A 4×4 transform from a 3×3 rotation and a translation in metres."""
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = translation
    return result


def rotation_from_quaternion(wxyz: npt.ArrayLike) -> Float64:
    """3×3 rotation of one quaternion or (..., 3, 3) of many, given as (w, x, y, z); normalised first."""
    q = np.asarray(wxyz, dtype=np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def rigidity_error(a_SE3_b: Float64) -> Float64:
    """max |R Rᵀ − I| of one or many transforms; 0 for a rigid one, NaN where the pose is not finite."""
    rotation = a_SE3_b[..., :3, :3]
    return np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max(axis=(-2, -1))
