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
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.errors import DataError, LidalError, UsageError
from lidal3d.files import replacing, write_text
from lidal3d.predictions import PredictionStore
from lidal3d.scene.open import open_drive
from lidal3d.scene.scene import Frame

Float32 = npt.NDArray[np.float32]
LOADERS = ("LoadPointsFromFile", "LoadPointsFromMultiSweeps", "LoadAnnotations3D", "PointSegClassMapping")


@dataclass(frozen=True)
class Detections:
    """B boxes of one sweep: (B, 7) with the centre in the middle, (B, C) scores, (B, D) features or None."""

    boxes: Float32
    scores: Float32
    features: Float32 | None


# --- arrays ------------------------------------------------------------------------------------------------------


def model_points(points: Float32, axes: str, intensity_scale: float, columns: int) -> Float32:
    """(N, columns) as the model learnt them: its axes, its intensity; columns that a sweep lacks are 0."""
    out = np.zeros((len(points), columns), dtype=np.float32)
    x, y, z, intensity = points.T
    out[:, :3] = np.column_stack([x, y, z] if axes == "xforward" else [-y, x, z])
    if columns > 3:
        out[:, 3] = intensity * np.float32(intensity_scale)
    return out


def lidal_boxes(boxes: npt.NDArray[np.floating], axes: str) -> Float32:
    """(B, 7) boxes of mmdet3d, whose z is the bottom's, with z in the middle, x forward and yaw in [−π, π)."""
    x, y, z, length, width, height, yaw = np.asarray(boxes, dtype=np.float64).reshape(-1, boxes.shape[-1])[:, :7].T
    if axes == "yforward":
        x, y, yaw = y, -x, yaw - np.pi / 2
    yaw = (yaw + np.pi) % (2 * np.pi) - np.pi
    return np.column_stack([x, y, z + height / 2, length, width, height, yaw]).astype(np.float32)


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


# --- the model ---------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """An mmdet3d model, ready to predict one sweep at a time."""

    net: Any
    name: str
    classes: tuple[str, ...]
    pipeline: Any
    columns: int
    axes: str
    intensity_scale: float
    full_scores: bool = True

    def run(self, frame: Frame) -> tuple[Any, int]:
        """mmdet3d's answer to one sweep, and the sweep's number of points. Raises DataError for an empty sweep."""
        import torch
        from mmdet3d.structures import LiDARInstance3DBoxes, LiDARPoints
        from mmengine.dataset import pseudo_collate

        points = model_points(frame.points(), self.axes, self.intensity_scale, self.columns)
        if not len(points):
            raise DataError(f"{frame.scene.source.points_path(frame.index)}: 0 points, at least 1 needed")
        sample = {"points": LiDARPoints(torch.from_numpy(points), points_dim=self.columns), "box_mode_3d": 0}
        sample |= {"box_type_3d": LiDARInstance3DBoxes, "timestamp": 0.0, "num_pts_feats": self.columns}
        with torch.no_grad():
            return self.net.test_step(pseudo_collate([self.pipeline(sample)]))[0], len(points)


def load_model(arguments: argparse.Namespace) -> Model:
    """Build the config's network and give it its weights. Raises UsageError and DataError in one line."""
    from mmdet3d.registry import MODELS
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    if (arguments.checkpoint is None) != arguments.random_weights:
        raise UsageError("give --checkpoint FILE or, to try out the machinery only, --random-weights")
    config = read_config(arguments.config, arguments.cfg_options)
    init_default_scope(config.get("default_scope", "mmdet3d"))
    net = MODELS.build(config.model)
    name = Path(arguments.config).stem
    if arguments.random_weights:
        name, stored = f"{name} (RANDOM WEIGHTS: learnt nothing)", None
    else:
        name, stored = f"{name} {arguments.checkpoint.name}", load_weights(net, arguments.checkpoint, arguments.trust)
    repair_for_cpu(net, arguments.device)
    steps = config.test_dataloader.dataset.pipeline
    columns = steps[0].get("use_dim", 4)
    return Model(
        net=net.to(arguments.device).eval(),
        name=name,
        classes=tuple(stored or class_names(config)),
        pipeline=Compose([step for step in steps if step["type"].removeprefix("mmdet3d.") not in LOADERS]),
        columns=columns if isinstance(columns, int) else len(columns),
        axes=arguments.model_axes,
        intensity_scale=arguments.intensity_scale,
    )


def read_config(path: str, options: list[str]) -> Any:
    """The config of a path, or of a name inside mmdet3d's wheel, with KEY=VALUE options put in."""
    import mmdet3d
    from mmdet3d.utils import register_all_modules
    from mmengine.config import Config

    shipped = Path(mmdet3d.__file__).parent / ".mim" / "configs" / path
    found = next((p for p in (Path(path), shipped) if p.is_file()), None)
    if found is None:
        raise UsageError(f"{path}: no such config, neither here nor in {shipped.parents[len(Path(path).parts) - 1]}")
    register_all_modules()
    config = Config.fromfile(found)
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"--cfg-options {option}: write KEY=VALUE, as in model.test_cfg.score_thr=0.05")
        config.merge_from_dict({key: yaml.safe_load(value)})
    return config


def class_names(config: Any) -> list[str]:
    """The names that a config gives to its model's classes."""
    metainfo = config.test_dataloader.dataset.get("metainfo") or {}
    names = metainfo.get("classes") or config.get("class_names")
    if not names:
        raise DataError("the config names no classes (metainfo.classes or class_names)")
    return list(names)


def load_weights(net: Any, path: Path, trust: bool) -> list[str] | None:
    """Load a checkpoint strictly; returns the class names it holds, if any. Raises DataError."""
    import torch
    from mmengine.logging.history_buffer import HistoryBuffer

    # What mmengine's own runner puts beside the weights: its log, as numpy arrays.
    core = np.core if np.__version__ < "2" else np._core  # type: ignore[attr-defined]
    dtypes = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32")]
    reconstruct = core.multiarray._reconstruct
    torch.serialization.add_safe_globals(
        [HistoryBuffer, reconstruct, core.multiarray.scalar, np.ndarray, np.dtype, *dtypes]
    )
    try:
        stored = torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # torch raises whatever the damaged file makes it raise
        reason = str(error).splitlines()[0][:200]
        hint = "" if trust else "; if you trust its author, --trust-checkpoint unpickles it, which can run any code"
        raise DataError(f"{path}: cannot load ({reason}){hint}") from None
    weights = stored.get("state_dict", stored)
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise DataError(f"{path}: weights of another network ({lines[min(1, len(lines) - 1)][:200]})") from None
    meta = stored.get("meta") or {}
    return (meta.get("dataset_meta") or {}).get("classes") or meta.get("CLASSES")


def repair_for_cpu(net: Any, device: str) -> None:
    """Make spconv's layers right on a CPU: its one algorithm there, and one thread (it sums wrongly with more)."""
    if device != "cpu":
        return
    import torch

    sparse = [module for module in net.modules() if hasattr(module, "algo") and hasattr(module, "indice_key")]
    if not sparse:
        return
    from spconv.core import ConvAlgo

    for module in sparse:
        module.algo = ConvAlgo.Native
    torch.set_num_threads(1)
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor  # type: ignore[method-assign]  # MinkUNet's voxels ask for it


# --- segment -----------------------------------------------------------------------------------------------------


def segment(model: Model, frame: Frame) -> npt.NDArray[np.float16]:
    """(N, C) class probabilities of one sweep. Raises DataError when the config's pipeline drops points."""
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
    return torch.softmax(logits, dim=0).T.cpu().numpy().astype(np.float16)


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


def detect(model: Model, witness: Witness, frame: Frame) -> Detections:
    """The boxes of one sweep. Raises UsageError when the model answers without boxes in LiDAR coordinates."""
    from mmdet3d.structures import LiDARInstance3DBoxes

    witness.forget()
    answer = model.run(frame)[0].get("pred_instances_3d", {})
    found = answer.get("bboxes_3d")
    if not isinstance(found, LiDARInstance3DBoxes):
        raise UsageError(f"{model.name}: no boxes in LiDAR coordinates in its answer; for a segmentor use `segment`")
    best, labels = answer.scores_3d.cpu().numpy(), answer.labels_3d.cpu().numpy()
    full = (
        witness.scores
        if witness.scores is not None
        else witness.sample(witness.heatmaps, found.tensor[:, :2], "nearest")
    )
    scores = np.zeros((len(best), len(model.classes)), dtype=np.float32)
    if full is not None and full.shape == scores.shape:
        scores = full.astype(np.float32)
    elif len(best):
        model.full_scores = False
    scores[np.arange(len(best)), labels] = best
    boxes = lidal_boxes(found.tensor.cpu().numpy(), model.axes)
    rows, scores = merged(boxes, scores)
    features = witness.sample(witness.grid, found.tensor[:, :2], "bilinear")
    return Detections(boxes[rows], scores, None if features is None else features[rows])


def write_boxes(root: Path, scene: str, frame: str, found: Detections) -> None:
    """Save one sweep's boxes."""
    arrays = {"boxes": found.boxes, "scores": found.scores}
    if found.features is not None:
        arrays["features"] = found.features
    with replacing(root / "boxes" / scene / f"{frame}.npz") as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def write_boxes_header(root: Path, model: Model, settings: str) -> None:
    """Save boxes.yaml; last, so that a folder with a header is a whole one."""
    kind = "every class before suppression" if model.full_scores else "best class only, 0 for the others"
    header = {
        "format": 1,
        "classes": list(model.classes),
        "model": model.name,
        "thresholds": f"{settings}; scores: {kind}",
    }
    write_text(root / "boxes.yaml", yaml.safe_dump(header, sort_keys=False))


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
    return f"{count} sweeps, {len(model.classes)} classes"


def run_detect(arguments: argparse.Namespace) -> str:
    """Write boxes of every sweep; returns what to tell."""
    model = load_model(arguments)
    witness = Witness(model.net)
    count = boxes = 0
    for frame in frames_of(arguments.drive):
        found = detect(model, witness, frame)
        write_boxes(arguments.out, frame.scene.id, frame.name, found)
        count, boxes = count + 1, boxes + len(found.boxes)
    write_boxes_header(arguments.out, model, test_settings(model.net))
    return f"{count} sweeps, {boxes} boxes"


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
