# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated drives with exact labels: towns, traffic, LiDARs and a camera, ray cast with Open3D."""

from lidal3d.sim.config import SimConfig
from lidal3d.sim.drive import SimulatedDrive, SimulatedSweep, simulate
from lidal3d.sim.write import write_drive

__all__ = ["SimConfig", "SimulatedDrive", "SimulatedSweep", "simulate", "write_drive"]
