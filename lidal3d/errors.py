# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The exceptions lidal3d raises: one line for a person, naming the file, both numbers and what to do."""


class LidalError(Exception):
    """Base of every error that lidal3d raises on purpose; the CLI prints it as one line and exits with 1."""

    exit_code = 1


class DataError(LidalError):
    """A file of a drive, of predictions or of a results folder is missing, damaged or does not fit another."""


class UsageError(LidalError):
    """What was asked for makes no sense (a budget of 0, an unknown key): exit code 2."""

    exit_code = 2


class MissingDependency(LidalError):
    """An optional package or a system library that this command needs is not installed."""
