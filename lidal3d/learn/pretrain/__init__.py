# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Encoders learnt without labels: what a step sees, what it is asked, and the file that comes out."""
