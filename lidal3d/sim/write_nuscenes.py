# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated drive as a scene of a nuScenes v1.0-mini folder that nuscenes-devkit opens.

LiDAR axes are nuScenes' (x right, y forward, z up), intensities 0-255, key frames twice a second. The folder has no
boxes: `instance` and `sample_annotation` are empty tables. Per-pixel classes go to `semantics/CAM_FRONT/*.png`, which
nuScenes does not have.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lidal3d.errors import DataError
from lidal3d.files import replacing_folder, write_json
from lidal3d.scene.pose import Float64, inverse
from lidal3d.sim.drive import SimulatedDrive, SimulatedSweep
from lidal3d.sim.nuscenes_names import ATTRIBUTES, CATEGORIES, LIDARSEG_OF_RAW, VISIBILITIES

VERSION = "v1.0-mini"
KEY_HZ = 2.0
Record = dict[str, Any]
Tables = dict[str, list[Record]]
TABLES = (
    "category", "attribute", "visibility", "instance", "sensor", "calibrated_sensor", "ego_pose", "log", "scene",
    "sample", "sample_data", "sample_annotation", "map", "lidarseg",
)  # fmt: skip
# ego (x forward, y left) from nuScenes LiDAR axes (x right, y forward): a quarter turn clockwise.
LIDAR_ROTATION = [float(np.sqrt(0.5)), 0.0, 0.0, -float(np.sqrt(0.5))]


def write_nuscenes(drive: SimulatedDrive, out: Path, scene_id: str, progress: Callable[[int], None]) -> Path:
    """Add scene "scene-`scene_id`" (padded to four digits) to the folder `out`, replacing one of that name.

    A new folder appears when it is complete. In an existing one the scene's files come first and its tables, which
    make it a scene, last. Returns `out`.
    """
    name = f"scene-{scene_id:0>4}"
    if not out.exists() or not any(out.iterdir()):
        with replacing_folder(out) as root:
            _Writer(drive, root, name).write(_empty_tables(), progress)
        return out
    tables = _without_scene(_read_tables(out), name)
    staged = out / f".{name}"
    with replacing_folder(staged) as root:
        _Writer(drive, root, name).write(tables, progress)
    _adopt(staged, out)
    _remove_strays(out, tables["lidarseg"])
    return out


class _Writer:
    """Writes one scene's files below `root` and adds its records."""

    def __init__(self, drive: SimulatedDrive, root: Path, name: str) -> None:
        self.drive, self.root, self.name = drive, root, name
        # Scenes of one folder must not begin at the same time: the devkit sorts them by it.
        self.micros = drive.timestamps_ns // 1000 + int(self.token("start")[:7], 16) * 1_000_000
        self.step = max(1, round(drive.config.hz / KEY_HZ))
        self.keys = tuple(range(0, len(drive), self.step))
        self.labelled = drive.config.labelled_frames(self.keys)
        self.channels = ["LIDAR_TOP", *(["CAM_FRONT"] if drive.camera else [])]

    def token(self, *parts: object) -> str:
        """A stable token: the same drive written twice has the same bytes."""
        return hashlib.sha256("/".join([self.name, *map(str, parts)]).encode()).hexdigest()[:32]

    def write(self, tables: Tables, progress: Callable[[int], None]) -> None:
        """Frames first, tables last."""
        self._describe(tables)
        for channel in self.channels:
            for kind in ("samples", "sweeps"):
                (self.root / kind / channel).mkdir(parents=True, exist_ok=True)
        (self.root / "lidarseg" / VERSION).mkdir(parents=True, exist_ok=True)
        (self.root / "semantics" / "CAM_FRONT").mkdir(parents=True, exist_ok=True)
        for index, sweep in enumerate(self.drive):
            self._frame(tables, index, sweep)
            progress(index + 1)
        for table in TABLES:
            write_json(self.root / VERSION / f"{table}.json", tables[table])

    def _describe(self, tables: Tables) -> None:
        """Scene, log, map, sensors and samples."""
        log, scene = self.token("log"), self.token("scene")
        keys = [self.token("sample", index) for index in self.keys]
        tables["log"].append(
            {"token": log, "logfile": self.name, "vehicle": "simulated", "date_captured": "2020-09-13",
             "location": self.drive.style.name}
        )  # fmt: skip
        tables["map"].append(
            {"token": self.token("map"), "log_tokens": [log], "category": "semantic_prior",
             "filename": f"maps/{self.name}.png"}
        )  # fmt: skip
        self._map()
        tables["scene"].append(
            {"token": scene, "log_token": log, "nbr_samples": len(keys), "first_sample_token": keys[0],
             "last_sample_token": keys[-1], "name": self.name, "description": f"simulated {self.drive.style.name}"}
        )  # fmt: skip
        for place, (index, token) in enumerate(zip(self.keys, keys, strict=True)):
            tables["sample"].append(
                {"token": token, "timestamp": int(self.micros[index]), "scene_token": scene,
                 "prev": keys[place - 1] if place else "", "next": keys[place + 1] if place + 1 < len(keys) else ""}
            )  # fmt: skip
        for channel in self.channels:
            tables["calibrated_sensor"].append(self._calibration(channel))

    def _map(self) -> None:
        """The devkit asks for a mask of the driveable surface; the simulator publishes none, so it is empty."""
        from PIL import Image

        (self.root / "maps").mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(self.root / "maps" / f"{self.name}.png")

    def _calibration(self, channel: str) -> Record:
        record: Record = {"token": self.token("calibrated", channel), "sensor_token": sensor_token(channel)}
        if channel == "LIDAR_TOP":
            translation = self.drive.ego_SE3_lidar[:3, 3]
            return record | {"translation": _list(translation), "rotation": LIDAR_ROTATION, "camera_intrinsic": []}
        camera = self.drive.camera
        assert camera is not None
        ego_SE3_camera = self.drive.ego_SE3_lidar @ inverse(camera.camera_SE3_lidar)
        return record | {
            "translation": _list(ego_SE3_camera[:3, 3]),
            "rotation": quaternion(ego_SE3_camera[:3, :3]),
            "camera_intrinsic": [_list(row) for row in camera.intrinsics],
        }

    def _frame(self, tables: Tables, index: int, sweep: SimulatedSweep) -> None:
        for channel in self.channels:
            record = self._sample_data(index, channel)
            tables["sample_data"].append(record)
            pose = self.drive.world_SE3_ego[index]
            tables["ego_pose"].append(
                {"token": record["token"], "timestamp": int(self.micros[index]), "rotation": quaternion(pose[:3, :3]),
                 "translation": _list(pose[:3, 3])}
            )  # fmt: skip
            path = self.root / record["filename"]
            if channel == "LIDAR_TOP":
                points_as_nuscenes(sweep).tofile(path)
                if index in self.labelled:
                    self._lidarseg(tables, record["token"], sweep)
            else:
                self._picture(path, sweep)

    def _sample_data(self, index: int, channel: str) -> Record:
        is_key = index % self.step == 0
        suffix, image = (".pcd.bin", None) if channel == "LIDAR_TOP" else (".jpg", self.drive.camera)
        folder = "samples" if is_key else "sweeps"
        # A sweep between belongs to the key frame that follows it, the last ones to the last key frame.
        key = min(-(-index // self.step) * self.step, self.keys[-1])
        last = len(self.drive) - 1
        return {
            "token": self.token("data", channel, index),
            "sample_token": self.token("sample", key),
            "ego_pose_token": self.token("data", channel, index),
            "calibrated_sensor_token": self.token("calibrated", channel),
            "timestamp": int(self.micros[index]),
            "fileformat": "pcd" if image is None else "jpg",
            "is_key_frame": is_key,
            "height": 0 if image is None else image.height,
            "width": 0 if image is None else image.width,
            "filename": f"{folder}/{channel}/{self.name}__{channel}__{int(self.micros[index])}{suffix}",
            "prev": self.token("data", channel, index - 1) if index else "",
            "next": self.token("data", channel, index + 1) if index < last else "",
        }

    def _lidarseg(self, tables: Tables, token: str, sweep: SimulatedSweep) -> None:
        filename = f"lidarseg/{VERSION}/{token}_lidarseg.bin"
        LIDARSEG_OF_RAW[sweep.semantic].tofile(self.root / filename)
        tables["lidarseg"].append({"token": token, "sample_data_token": token, "filename": filename})

    def _picture(self, path: Path, sweep: SimulatedSweep) -> None:
        from PIL import Image

        assert sweep.picture is not None
        Image.fromarray(sweep.picture.rgb).save(path, quality=92)
        Image.fromarray(sweep.picture.semantic).save(self.root / "semantics" / "CAM_FRONT" / f"{path.stem}.png")


def points_as_nuscenes(sweep: SimulatedSweep) -> np.ndarray:
    """(N, 5) float32 in nuScenes axes: right, forward, up, intensity 0-255, ring."""
    x, y, z, intensity = sweep.points.T
    return np.column_stack([-y, x, z, np.round(255 * intensity), sweep.ring]).astype(np.float32)


def quaternion(rotation: Float64) -> list[float]:
    """(w, x, y, z) with w >= 0 of a 3×3 rotation: the eigenvector of Bar-Itzhack's matrix, exact for noisy ones too."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], 0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    x, y, z, w = np.linalg.eigh(k / 3.0)[1][:, -1]
    sign = -1.0 if w < 0 else 1.0
    return [float(sign * q) for q in (w, x, y, z)]


def sensor_token(channel: str) -> str:
    """The same for every scene of a folder."""
    return hashlib.sha256(f"sensor/{channel}".encode()).hexdigest()[:32]


def _list(values: Float64) -> list[float]:
    return [float(v) for v in values]


def _empty_tables() -> Tables:
    """The tables before the first scene: categories, attributes, visibilities and sensors."""
    tables: Tables = {name: [] for name in TABLES}
    tables["category"] = [
        {"token": sensor_token(f"category {name}"), "name": name, "description": name, "index": index}
        for index, name in enumerate(CATEGORIES)
    ]
    tables["attribute"] = [
        {"token": sensor_token(f"attribute {name}"), "name": name, "description": name} for name in ATTRIBUTES
    ]
    tables["visibility"] = [
        {"token": token, "level": level, "description": f"visible: {level[1:]} %"} for token, level in VISIBILITIES
    ]
    tables["sensor"] = [
        {"token": sensor_token(channel), "channel": channel, "modality": modality}
        for channel, modality in (("LIDAR_TOP", "lidar"), ("CAM_FRONT", "camera"))
    ]
    return tables


def _read_tables(out: Path) -> Tables:
    tables = {}
    for name in TABLES:
        path = out / VERSION / f"{name}.json"
        try:
            tables[name] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot add a scene to this folder ({reason}); choose a new --out") from None
    return tables


def _without_scene(tables: Tables, name: str) -> Tables:
    """The tables without the records of one scene."""
    scenes = {r["token"] for r in tables["scene"] if r["name"] == name}
    logs = {r["token"] for r in tables["log"] if r["logfile"] == name}
    samples = {r["token"] for r in tables["sample"] if r["scene_token"] in scenes}
    data = [r for r in tables["sample_data"] if r["sample_token"] in samples]
    gone = scenes | logs | samples | {r["token"] for r in data} | {r["calibrated_sensor_token"] for r in data}
    kept = {table: [r for r in records if r["token"] not in gone] for table, records in tables.items()}
    kept["map"] = [r for r in kept["map"] if not set(r["log_tokens"]) & logs]
    return kept


def _adopt(staged: Path, out: Path) -> None:
    """Move a scene's files into the folder, then its tables."""
    try:
        files = [path for path in sorted(staged.rglob("*")) if path.is_file()]
        for path in sorted(files, key=lambda path: path.parent.name == VERSION and path.suffix == ".json"):
            target = out / path.relative_to(staged)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    except OSError as error:
        raise DataError(
            f"{out}: cannot write ({error.strerror or error}); free space or choose another --out"
        ) from error
    shutil.rmtree(staged, ignore_errors=True)


def _remove_strays(out: Path, lidarseg: list[Record]) -> None:
    """Label files of a replaced scene: the devkit refuses a folder with more of them than records."""
    known = {Path(record["filename"]).name for record in lidarseg}
    for path in (out / "lidarseg" / VERSION).glob("*_lidarseg.bin"):
        if path.name not in known:
            path.unlink()
