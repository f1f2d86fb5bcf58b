# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of `lidal3d check`: ids, severities, what they mean and how to mend what breaks them."""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True)
class Rule:
    """One thing that must hold for a drive.

    Attributes:
        id: as printed ("POINTS-TRUNCATED").
        severity: "error" makes the check fail, "warning" does not.
        description: what is wrong where the rule is broken.
        fix: what to do about it.
    """

    id: str
    severity: str
    description: str
    fix: str


_COPY = "copy the file from the data set again"

_ALL = (
    Rule("DRIVE-UNRECOGNISED", ERROR, "the path holds no drive log of a known layout", "give the drive's folder"),
    Rule("DRIVE-EMPTY", ERROR, "a drive or a sequence without a single sweep", "copy the sweeps, or remove the folder"),
    Rule("DRIVE-UNREADABLE", ERROR, "the drive cannot be opened", "see the message"),
    Rule("TABLES-UNREADABLE", ERROR, "nuscenes-devkit cannot open the tables", "copy v1.0-* and maps again"),
    Rule(
        "INFO-UNREADABLE",
        ERROR,
        "the info file is none of mmdet3d's, or broken",
        "make it with mmdet3d's create_data.py",
    ),
    Rule("SCENE-ONE-FRAME", WARNING, "a scene with one sweep has no neighbours to compare with", "record or copy more"),
    Rule("FRAME-NAME", ERROR, "a sweep's file name is not its number or time", "rename or remove the file"),
    Rule("POINTS-MISSING", ERROR, "the file with a sweep's points is missing", _COPY),
    Rule("POINTS-EMPTY", ERROR, "a sweep without a point", "copy the file again, or remove the sweep"),
    Rule("POINTS-TRUNCATED", ERROR, "a sweep's file is not a whole number of points", _COPY),
    Rule("POINTS-UNREADABLE", ERROR, "a sweep's file cannot be read", "check its permissions, or copy it again"),
    Rule("POINTS-NOT-FINITE", ERROR, "coordinates or intensities that are NaN or infinite", "drop these points"),
    Rule("LABELS-MISSING", ERROR, "a label file that the tables name is missing", _COPY),
    Rule("LABELS-TRUNCATED", ERROR, "a label file is not a whole number of labels", _COPY),
    Rule("LABELS-UNREADABLE", ERROR, "a label file cannot be read", "check its permissions, or copy it again"),
    Rule("LABELS-COUNT", ERROR, "labels and points differ in number", "use the labels of the same sweep"),
    Rule("LABELS-UNKNOWN-ID", ERROR, "labels that the data set's card does not list", "use another --label-map"),
    Rule("POSES-MISSING", ERROR, "sweeps without a pose", "write one pose a sweep"),
    Rule("POSES-UNREADABLE", ERROR, "the poses' file is not what its layout says", _COPY),
    Rule("POSES-NOT-FINITE", ERROR, "a pose that is NaN or infinite", "run odometry again for this stretch"),
    Rule("POSES-NOT-RIGID", ERROR, "a pose whose rotation is no rotation", "orthonormalise the rotations"),
    Rule("POSES-JUMP", ERROR, "the vehicle would have driven faster than any car", "cut the drive at the jump"),
    Rule("POSES-TURN", ERROR, "the vehicle would have turned faster than any car", "cut the drive at the turn"),
    Rule("TIMES-MISSING", ERROR, "sweeps without a time", "write one time a sweep"),
    Rule("TIMES-UNREADABLE", ERROR, "the times' file is not what its layout says", _COPY),
    Rule("TIME-BACKWARDS", ERROR, "a sweep that is not later than the one before", "sort the sweeps, drop duplicates"),
    Rule(
        "TIME-GAP", WARNING, "more time than usual since the sweep before", "copy the sweeps between, if there are any"
    ),
    Rule("CALIB-MISSING", ERROR, "the calibration is missing", _COPY),
    Rule("CALIB-UNREADABLE", ERROR, "the calibration is not what its layout says", _COPY),
    Rule("IMAGE-MISSING", WARNING, "camera images that the drive names are missing", "copy them, or work without"),
    Rule("IMAGE-UNREADABLE", WARNING, "a camera image cannot be opened", _COPY),
    Rule("PREDICTIONS-HEADER", ERROR, "predictions.yaml is missing or says no classes", "write it as README shows"),
    Rule("PREDICTIONS-CLASSES", ERROR, "predictions and drive have different classes", "predict the drive's classes"),
    Rule("PROBABILITIES-MISSING", ERROR, "a sweep without probabilities", "predict this sweep"),
    Rule("PROBABILITIES-UNREADABLE", ERROR, "probabilities that are no whole float array", "predict this sweep again"),
    Rule("PROBABILITIES-COLUMNS", ERROR, "not one column a class", "write N×C in the order of predictions.yaml"),
    Rule("PROBABILITIES-COUNT", ERROR, "probabilities and points differ in number", "predict every point, in order"),
    Rule("PROBABILITIES-NOT-FINITE", ERROR, "probabilities that are NaN or infinite", "predict this sweep again"),
    Rule("PROBABILITIES-NEGATIVE", ERROR, "probabilities below 0", "save the softmax, not the logits"),
    Rule("PROBABILITIES-SUM", ERROR, "probabilities that do not sum to 1", "save the softmax, not the logits"),
    Rule("FEATURES-UNREADABLE", ERROR, "features that are no whole float array", "predict this sweep again"),
    Rule("FEATURES-COUNT", ERROR, "features and points differ in number", "write one feature row a point"),
    Rule("FEATURES-NOT-FINITE", ERROR, "features that are NaN or infinite", "predict this sweep again"),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _ALL}
