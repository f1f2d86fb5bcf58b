# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Rounds of active learning: the ledger of who labelled what, oracles, experiments and their statistics."""
