# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""`python -m lidal3d` is `lidal3d`."""

from lidal3d.cli.main import main

main()
