# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""One thread for every test: the suite shares its machine, and results must not depend on it."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
