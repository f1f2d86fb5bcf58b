# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The self-supervised methods by name; METHODS is the whole list."""

from __future__ import annotations

import difflib

from lidal3d.errors import UsageError
from lidal3d.learn.pretrain.barlow import BARLOW
from lidal3d.learn.pretrain.masked import MASKED
from lidal3d.learn.pretrain.method import Method
from lidal3d.learn.pretrain.odct import ODCT
from lidal3d.learn.pretrain.twist import TWIST

METHODS: dict[str, Method] = {method.name: method for method in (TWIST, BARLOW, ODCT, MASKED)}


def method_named(name: str) -> Method:
    """A method of the list. Raises UsageError with the nearest name and all there are."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.4)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(f"no self-supervised method '{name}' ({hint}known: {', '.join(METHODS)})")
    return METHODS[name]
