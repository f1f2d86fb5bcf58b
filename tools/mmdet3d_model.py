# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""An mmdet3d model for the other tools here: config, weights, and one sweep in. Runs in mmdet3d's environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from lidal3d.errors import DataError, UsageError
from lidal3d.scene.labels import load_label_map
from lidal3d.scene.scene import Frame

Float32 = npt.NDArray[np.float32]
LOADERS = ("LoadPointsFromFile", "LoadPointsFromMultiSweeps", "LoadAnnotations3D", "PointSegClassMapping")


def model_points(points: Float32, axes: str, intensity_scale: float, columns: int) -> Float32:
    """(N, columns) as the model learnt them: its axes, its intensity; columns that a sweep lacks are 0."""
    out = np.zeros((len(points), columns), dtype=np.float32)
    x, y, z, intensity = points.T
    out[:, :3] = np.column_stack([x, y, z] if axes == "xforward" else [-y, x, z])
    if columns > 3:
        out[:, 3] = intensity * np.float32(intensity_scale)
    return out


@dataclass(frozen=True)
class Model:
    """An mmdet3d model, ready to predict one sweep at a time."""

    net: Any
    name: str
    classes: tuple[str, ...]
    pipeline: Any
    columns: int
    axes: str
    intensity_scale: float

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


def load_model(arguments: Any) -> Model:
    """Build the config's network and give it its weights, as the options of mmdet3d_predict.py say.

    Raises:
        UsageError: neither a checkpoint nor --random-weights, or both; no such config.
        DataError: the checkpoint does not load or is another network's.
    """
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
        classes=named_classes(arguments.classes) if arguments.classes else tuple(stored or class_names(config)),
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


def named_classes(text: str) -> tuple[str, ...]:
    """The classes of a data-set card of lidal3d ("semantickitti"), or names with commas between them."""
    return tuple(text.split(",")) if "," in text else load_label_map(text).classes


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
