# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Predict a drive with any mmdet3d model, in lidal3d's files. Runs in the environment of `tools/mmdet3d_env.sh`:

    DIR/bin/python tools/mmdet3d_predict.py segment DRIVE --config C.py --checkpoint W.pth --out predictions
    DIR/bin/python tools/mmdet3d_predict.py detect  DRIVE --config C.py --checkpoint W.pth --out boxes

DRIVE is anything that lidal3d opens. `segment` writes class probabilities of every point (README, "On your drive");
`detect` writes boxes.yaml and boxes/SCENE/FRAME.npz: boxes (B, 7) float32 x y z of the centre, length, width, height,
yaw about +z in the sweep's lidar coordinates; scores (B, C) float32; features (B, D) float32 where the model has a map
of the ground seen from above. A config may be given by its name inside mmdet3d's wheel. One sweep is one input: models
that stack sweeps see a stack of one. docs/recipes.md says which class scores and features come from which model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from mmdet3d_model import Float32, Model, load_model

from lidal3d.errors import DataError, LidalError, UsageError
from lidal3d.predictions import PredictionStore
from lidal3d.predictions.boxes import BoxStore, FrameBoxes
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Frame

# --- arrays ------------------------------------------------------------------------------------------------------


def lidal_boxes(boxes: npt.NDArray[np.floating], axes: str) -> Float32:
    """(B, 7) boxes of mmdet3d, whose z is the bottom's, with z in the middle, x forward and yaw in [−π, π)."""
    x, y, z, length, width, height, yaw = np.asarray(boxes, dtype=np.float64).reshape(-1, boxes.shape[-1])[:, :7].T
    if axes == "yforward":
        x, y, yaw = y, -x, yaw - np.pi / 2
    yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
    return np.column_stack([x, y, z + height / 2, length, width, height, yaw]).astype(np.float32)


def lidal_view(range_m: Any, axes: str) -> tuple[float, float, float, float] | None:
    """(x_min, y_min, x_max, y_max) in lidar coordinates of a model's (x, y, z, x, y, z) range; None without one."""
    if range_m is None:
        return None
    x0, y0, _, x1, y1, _ = (float(value) for value in range_m)
    return (x0, y0, x1, y1) if axes == "xforward" else (y0, -x1, y1, -x0)


def rows_of(kept: npt.NDArray[np.floating], candidates: npt.NDArray[np.floating]) -> npt.NDArray[np.int64] | None:
    """(K,) which candidate each kept box is a copy of, bit for bit, or None where one is the copy of none."""
    same = (kept[:, None, :] == candidates[None, :, :]).all(axis=2)
    return same.argmax(axis=1) if same.any(axis=1).all() else None


def merged(boxes: Float32, scores: Float32) -> tuple[npt.NDArray[np.int64], Float32]:
    """Rows to keep, best score first, and their scores: a box reported once for each of its classes becomes one."""
    _, first, group = np.unique(boxes, axis=0, return_index=True, return_inverse=True)
    best = np.zeros((len(first), scores.shape[1]), dtype=np.float32)
    np.maximum.at(best, group.ravel(), scores)
    order = np.lexsort([first, -best.max(axis=1, initial=0)])
    return first[order], best[order]


# --- segment -----------------------------------------------------------------------------------------------------


def segment(model: Model, frame: Frame) -> npt.NDArray[np.float16]:
    """(N, C) class probabilities of one sweep. Raises DataError where points or classes are missing."""
    import torch

    answer, points = model.run(frame)
    if "pts_seg_logits" not in answer:
        raise UsageError(f"{model.name}: no class scores of points in its answer; is it a detector? then use `detect`")
    logits = answer.pts_seg_logits.pts_seg_logits.float()
    if logits.shape[1] != points:
        raise DataError(
            f"{frame.scene.source.points_path(frame.index)}: {points} points, but the model answers for {logits.shape[1]}; "
            "take range filters and point sampling out of the config's test pipeline"
        )
    if len(logits) < len(model.classes):
        raise DataError(f"{model.name}: scores of {len(logits)} classes, but {len(model.classes)} names; see --classes")
    # What a network has beyond the named classes is "unlabeled", last in mmdet3d.
    return torch.softmax(logits[: len(model.classes)], dim=0).T.cpu().numpy().astype(np.float16)


# --- detect ------------------------------------------------------------------------------------------------------


class Witness:
    """Listens to a detector while it runs: all class scores before suppression, and the map seen from above."""

    def __init__(self, net: Any) -> None:
        from mmdet3d.models.dense_heads import base_3d_dense_head, shape_aware_head

        self.grid: Any = None
        self.heatmaps: Any = None
        self.scores: Any = None
        self.range = getattr(getattr(net.data_preprocessor, "voxel_layer", None), "point_cloud_range", None)
        neck = getattr(net, "pts_neck", None) or getattr(net, "neck", None)
        if neck is not None:
            neck.register_forward_hook(self._see_neck)
        head = getattr(net, "pts_bbox_head", None)
        if head is not None and hasattr(head, "task_heads"):
            head.register_forward_hook(self._see_center_head)
        for module in (base_3d_dense_head, shape_aware_head):
            module.box3d_multiclass_nms = self._around(module.box3d_multiclass_nms)

    def forget(self) -> None:
        """Before the next sweep."""
        self.grid = self.heatmaps = self.scores = None

    def _see_neck(self, module: Any, inputs: Any, output: Any) -> None:
        first = output[0] if isinstance(output, (list, tuple)) else output
        self.grid = first if getattr(first, "ndim", 0) == 4 else None

    def _see_center_head(self, module: Any, inputs: Any, output: Any) -> None:
        import torch

        tasks = [task[0] if isinstance(task, (list, tuple)) else task for task in output]
        self.heatmaps = torch.cat([task["heatmap"].sigmoid() for task in tasks], dim=1)

    def _around(self, suppress: Any) -> Any:
        def listening(boxes: Any, boxes_for_nms: Any, scores: Any, *args: Any, **kwargs: Any) -> Any:
            results = suppress(boxes, boxes_for_nms, scores, *args, **kwargs)
            rows = rows_of(results[0].cpu().numpy(), boxes.cpu().numpy())
            self.scores = None if rows is None else scores[:, :-1].cpu().numpy()[rows]
            return results

        return listening

    def sample(self, grid: Any, centers: Any, mode: str) -> Float32 | None:
        """(B, D) of a map (1, D, Y, X) at the boxes' centres (B, 2) in the model's axes; None without a map."""
        import torch

        if grid is None or self.range is None:
            return None
        low, high = (torch.tensor(self.range[k : k + 2], device=grid.device) for k in (0, 3))
        place = (centers.to(grid) - low) / (high - low) * 2 - 1
        found = torch.nn.functional.grid_sample(grid, place[None, None], mode, "border", align_corners=False)
        return found[0, :, 0].T.cpu().numpy().astype(np.float32)


def detect(model: Model, witness: Witness, frame: Frame) -> tuple[FrameBoxes, bool]:
    """The boxes of one sweep, and whether their scores are those of every class.

    Raises:
        UsageError: the model answers without boxes in LiDAR coordinates.
    """
    from mmdet3d.structures import LiDARInstance3DBoxes

    witness.forget()
    answer = model.run(frame)[0].get("pred_instances_3d", {})
    found = answer.get("bboxes_3d")
    if not isinstance(found, LiDARInstance3DBoxes):
        raise UsageError(f"{model.name}: no boxes in LiDAR coordinates in its answer; for a segmentor use `segment`")
    best, labels, centers = answer.scores_3d.cpu().numpy(), answer.labels_3d.cpu().numpy(), found.tensor[:, :2]
    if len(labels) and labels.max() >= len(model.classes):
        raise DataError(f"{model.name}: a box of class {labels.max()}, but {len(model.classes)} names; see --classes")
    every = witness.scores if witness.scores is not None else witness.sample(witness.heatmaps, centers, "nearest")
    scores = np.zeros((len(best), len(model.classes)), dtype=np.float32)
    full = every is not None and every.shape == scores.shape
    if full:
        scores = every.astype(np.float32)
    scores[np.arange(len(best)), labels] = best
    boxes = lidal_boxes(found.tensor.cpu().numpy(), model.axes)
    rows, scores = merged(boxes, scores)
    features = witness.sample(witness.grid, centers, "bilinear")
    return FrameBoxes(boxes[rows], scores, None if features is None else features[rows]), full or not len(best)


# --- the command -------------------------------------------------------------------------------------------------


def frames_of(drive: Path) -> Iterator[Frame]:
    """All sweeps of a drive, scene by scene."""
    for scene in open_drive(drive):
        yield from scene


def run_segment(arguments: argparse.Namespace) -> str:
    """Write predictions of every sweep; returns what to tell."""
    model = load_model(arguments)
    store = PredictionStore(arguments.out, model.classes, model.name)
    count = 0
    for frame in frames_of(arguments.drive):
        store.write(frame.scene.id, frame.name, segment(model, frame))
        count += 1
    store.write_header()
    return f"{count} sweep{'s' * (count != 1)}, {len(model.classes)} classes"


def run_detect(arguments: argparse.Namespace) -> str:
    """Write boxes of every sweep; returns what to tell."""
    model = load_model(arguments)
    witness = Witness(model.net)
    store = BoxStore(arguments.out, model.classes, model.name, lidal_view(witness.range, model.axes))
    count, boxes, full = 0, 0, True
    for frame in frames_of(arguments.drive):
        found, every = detect(model, witness, frame)
        store.write(frame.scene.id, frame.name, found.boxes, found.scores, found.features)
        count, boxes, full = count + 1, boxes + len(found), full and every
    kind = "every class, before suppression" if full else "best class only, 0 for the others"
    store.write_header(thresholds=test_settings(model.net), scores=kind)
    return f"{count} sweep{'s' * (count != 1)}, {boxes} boxes, scores of {kind}"


def test_settings(net: Any) -> str:
    """The detector's thresholds as text, for people."""
    settings = getattr(getattr(net, "pts_bbox_head", None) or getattr(net, "bbox_head", net), "test_cfg", None) or {}
    wanted = ("score_thr", "score_threshold", "nms_thr", "nms_pre", "max_num")
    return ", ".join(f"{key} {settings[key]}" for key in wanted if key in settings) or "those of the config"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["segment", "detect"])
    parser.add_argument("drive", type=Path, help="a drive log that lidal3d opens")
    parser.add_argument("--config", required=True, help="an mmdet3d config: a file, or a name inside its wheel")
    parser.add_argument("--checkpoint", type=Path, help="the config's weights (.pth)")
    parser.add_argument("--random-weights", action="store_true", help="no weights; the written model name says so")
    parser.add_argument("--trust-checkpoint", dest="trust", action="store_true", help="unpickle freely: runs its code")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--classes", help="names instead of the config's: a data set (semantickitti), or a,b,c")
    parser.add_argument("--cfg-options", nargs="*", default=[], help="KEY=VALUE put into the config")
    parser.add_argument("--model-axes", choices=["xforward", "yforward"], default="xforward",
                        help="yforward for a model trained on nuScenes")  # fmt: skip
    parser.add_argument("--intensity-scale", type=float, default=1.0, help="times the drive's intensity (255, 1/255 …)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda:0")
    return parser.parse_args(words)


def main() -> None:
    """Predict, and say what was written and how long it took; an error is one line."""
    arguments = parse()
    began = perf_counter()
    try:
        told = (run_segment if arguments.task == "segment" else run_detect)(arguments)
    except LidalError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ImportError as error:
        print(f"error: {error}; run this in the environment of tools/mmdet3d_env.sh", file=sys.stderr)
        sys.exit(1)
    print(f"{told}, {perf_counter() - began:.1f} s -> {arguments.out}")


if __name__ == "__main__":
    main()
