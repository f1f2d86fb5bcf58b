# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Miniature drives with known contents, written in every layout that lidal3d reads.

One analytic trajectory gives the pose at any time, so that the truth of sweeps and of images taken between them is
known in every layout. Coordinates are multiples of 1/8 m, which float16, text and tables hold exactly.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

WIDTH, HEIGHT = 64, 48
INTRINSICS = np.array([[40.0, 0.0, 31.5], [0.0, 42.0, 23.5], [0.0, 0.0, 1.0]])
# Camera axes (x right, y down, z forward) in lidar axes (x forward, y left, z up).
OPTICAL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
PERIOD_NS = 100_000_000
IMAGE_LEAD_NS = 20_000_000  # an image is taken that long before its sweep's time
START_NS = 1_500_000_000_000_000_000

NUSCENES_CAMERAS = ("CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT", "CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT")
NUSCENES_NAMES = (
    "noise",
    "animal",
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.stroller",
    "human.pedestrian.wheelchair",
    "movable_object.barrier",
    "movable_object.debris",
    "movable_object.pushable_pullable",
    "movable_object.trafficcone",
    "static_object.bicycle_rack",
    "vehicle.bicycle",
    "vehicle.bus.bendy",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.construction",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "vehicle.motorcycle",
    "vehicle.trailer",
    "vehicle.truck",
    "flat.driveable_surface",
    "flat.other",
    "flat.sidewalk",
    "flat.terrain",
    "static.manmade",
    "static.other",
    "static.vegetation",
    "vehicle.ego",
)
NUSCENES_TABLES = (
    "category",
    "attribute",
    "visibility",
    "instance",
    "sensor",
    "calibrated_sensor",
    "ego_pose",
    "log",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
    "map",
    "lidarseg",
)


def rotation_z(radians: float) -> np.ndarray:
    """3×3 rotation about z."""
    c, s = np.cos(radians), np.sin(radians)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_x(radians: float) -> np.ndarray:
    """3×3 rotation about x."""
    c, s = np.cos(radians), np.sin(radians)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rigid(rotation: np.ndarray, translation: Iterable[float]) -> np.ndarray:
    """4×4 of a rotation and a translation."""
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation, list(translation)
    return result


def quaternion(rotation: np.ndarray) -> list[float]:
    """(w, x, y, z) of a 3×3 rotation, through SciPy: not the code under test."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return [float(w), float(x), float(y), float(z)]


def world_SE3_lidar_at(timestamp_ns: int) -> np.ndarray:
    """The pose of the miniature vehicle: 8 m/s along a gentle curve, far from the world's origin, rolling a little."""
    seconds = (timestamp_ns - START_NS) * 1e-9
    heading = 0.4 + 0.2 * seconds
    place = [1000.0 + 8.0 * seconds, 2000.0 + 2.0 * seconds, 50.0 + 0.3 * seconds]
    return rigid(rotation_z(heading) @ rotation_x(0.02 * seconds), place)


def camera_SE3_lidar_mount(place: int) -> np.ndarray:
    """How camera number `place` is mounted: looking to another side each, half a metre off."""
    return rigid(OPTICAL @ rotation_z(0.3 * place), [0.5, -0.25 * place, 0.125])


@dataclass(frozen=True)
class MiniImage:
    """What is true of one image."""

    camera: str
    timestamp_ns: int
    world_SE3_camera: np.ndarray


@dataclass(frozen=True)
class MiniFrame:
    """What is true of one sweep, in lidar axes."""

    points: np.ndarray
    raw_labels: np.ndarray | None
    instances: np.ndarray | None
    timestamp_ns: int
    world_SE3_lidar: np.ndarray
    is_key_frame: bool = True
    images: tuple[MiniImage, ...] = ()


@dataclass(frozen=True)
class MiniScene:
    """What is true of one scene."""

    id: str
    frames: tuple[MiniFrame, ...] = field(repr=False)


def make_scenes(
    seed: int,
    ids: Sequence[str],
    raw_ids: Sequence[int],
    cameras: Sequence[str] = (),
    frames: int = 5,
    key_every: int = 1,
    labelled: Callable[[int], bool] = lambda _: True,
    instances: bool = False,
    start_ns: int = START_NS,
    image_lead_ns: int = IMAGE_LEAD_NS,
) -> tuple[MiniScene, ...]:
    """Scenes of `frames` sweeps with 30 to 40 points each."""
    rng = np.random.default_rng(seed)

    def frame(k: int) -> MiniFrame:
        count = int(rng.integers(30, 40))
        xyz = rng.integers(-200, 200, (count, 3)) / 8.0
        intensity = rng.integers(0, 256, (count, 1))
        time_ns = start_ns + k * PERIOD_NS
        taken_ns = time_ns - image_lead_ns
        is_key = k % key_every == 0
        return MiniFrame(
            points=np.hstack([xyz, intensity]).astype(np.float32),
            raw_labels=rng.choice(raw_ids, count).astype(np.uint32) if is_key and labelled(k) else None,
            instances=rng.integers(0, 300, count).astype(np.uint32) if instances and labelled(k) else None,
            timestamp_ns=time_ns,
            world_SE3_lidar=world_SE3_lidar_at(time_ns),
            is_key_frame=is_key,
            images=tuple(
                MiniImage(c, taken_ns, world_SE3_lidar_at(taken_ns) @ np.linalg.inv(camera_SE3_lidar_mount(place)))
                for place, c in enumerate(cameras)
            ),
        )

    return tuple(MiniScene(scene, tuple(frame(k) for k in range(frames))) for scene in ids)


def _image(path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (10, 120, 200)).save(path)


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def _seconds(timestamp_ns: int) -> str:
    return f"{timestamp_ns // 10**9}.{timestamp_ns % 10**9:09d}"


def _kitti_rows(poses: Iterable[np.ndarray]) -> str:
    return "".join(_numbers(pose[:3].ravel()) + "\n" for pose in poses)


# --- SemanticKITTI ------------------------------------------------------------------------------------------------

KITTI_CAMERA0_SE3_LIDAR = rigid(OPTICAL @ rotation_z(0.01), [0.0625, -0.125, -0.25])


def write_semantickitti(root: Path, scenes: Sequence[MiniScene]) -> Path:
    """Sequences with a camera calibration that is no identity; P2 and P3 are offset as in KITTI."""
    camera0_SE3_world_start = KITTI_CAMERA0_SE3_LIDAR
    for scene in scenes:
        folder = root / "sequences" / scene.id
        (folder / "velodyne").mkdir(parents=True)
        (folder / "labels").mkdir()
        for k, frame in enumerate(scene.frames):
            frame.points.astype("<f4").tofile(folder / "velodyne" / f"{k:06d}.bin")
            if frame.raw_labels is not None and frame.instances is not None:
                packed = frame.instances << np.uint32(16) | frame.raw_labels
                packed.astype("<u4").tofile(folder / "labels" / f"{k:06d}.label")
            for image in frame.images:
                _image(folder / image.camera / f"{k:06d}.png")
        # The left camera's poses, in a world of camera axes: P = Tr · W · inv(Tr) gives W back.
        tr = camera0_SE3_world_start
        _text(folder / "poses.txt", _kitti_rows(tr @ f.world_SE3_lidar @ np.linalg.inv(tr) for f in scene.frames))
        _text(folder / "times.txt", "".join(_seconds(f.timestamp_ns) + "\n" for f in scene.frames))
        _text(folder / "calib.txt", _kitti_calibration())
    return root


def kitti_projection(camera: str) -> np.ndarray:
    """3×4 projection of a rectified camera: K [I | t]."""
    offset = {"image_2": [0.0625, 0.0, 0.0], "image_3": [-0.5, 0.0, 0.0]}[camera]
    return INTRINSICS @ np.hstack([np.eye(3), np.array(offset)[:, None]])


def _kitti_calibration() -> str:
    rows = {"P0": np.hstack([INTRINSICS, np.zeros((3, 1))]), "P1": np.hstack([INTRINSICS, np.zeros((3, 1))])}
    rows |= {"P2": kitti_projection("image_2"), "P3": kitti_projection("image_3"), "Tr": KITTI_CAMERA0_SE3_LIDAR[:3]}
    return "".join(f"{name}: {_numbers(matrix.ravel())}\n" for name, matrix in rows.items())


# --- nuScenes -----------------------------------------------------------------------------------------------------

# The sensor's own axes: x right, y forward.
YFORWARD_FROM_LIDAR = rigid(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), [0, 0, 0])
EGO_SE3_SENSOR = rigid(rotation_z(-np.pi / 2 + 0.02), [0.95, 0.0, 1.84])


class NuScenesTables:
    """Collects table records and writes them as the devkit reads them."""

    def __init__(self, root: Path, version: str = "v1.0-mini") -> None:
        self.root, self.version = root, version
        self.tables: dict[str, list[dict[str, object]]] = {name: [] for name in NUSCENES_TABLES}

    def add(self, table: str, token: str, **fields: object) -> str:
        """Add a record and give its token back."""
        self.tables[table].append({"token": token, **fields})
        return token

    def pose(self, table: str, token: str, transform: np.ndarray, **fields: object) -> str:
        """Add a record with a rotation and a translation."""
        place = {"rotation": quaternion(transform[:3, :3]), "translation": transform[:3, 3].tolist()}
        return self.add(table, token, **place, **fields)

    def chain(self, records: list[dict[str, object]]) -> None:
        """Add records of one sensor or scene, linked with each other in their order."""
        for k, record in enumerate(records):
            record["prev"] = records[k - 1]["token"] if k else ""
            record["next"] = records[k + 1]["token"] if k + 1 < len(records) else ""

    def write(self) -> None:
        """Write every table."""
        for name, records in self.tables.items():
            _text(self.root / self.version / f"{name}.json", json.dumps(records))


def write_nuscenes(root: Path, scenes: Sequence[MiniScene]) -> Path:
    """A v1.0-mini table folder with key frames, sweeps between them, six cameras and lidarseg."""
    tables = NuScenesTables(root)
    for index, name in enumerate(NUSCENES_NAMES):
        tables.add("category", f"category{index}", name=name, description="", index=index)
    tables.add("log", "log0", logfile="mini", vehicle="mini", date_captured="2018-07-24", location="singapore-onenorth")
    tables.add("map", "map0", log_tokens=["log0"], category="semantic_prior", filename="maps/mini.png")
    _image(root / "maps" / "mini.png")
    for channel in ("LIDAR_TOP", *NUSCENES_CAMERAS):
        modality = "lidar" if channel == "LIDAR_TOP" else "camera"
        tables.add("sensor", f"sensor_{channel}", channel=channel, modality=modality)
    for scene in scenes:
        _nuscenes_scene(tables, scene)
    tables.write()
    return root


def _nuscenes_scene(tables: NuScenesTables, scene: MiniScene) -> None:
    keys = [k for k, frame in enumerate(scene.frames) if frame.is_key_frame]
    samples = [f"{scene.id}_sample{k}" for k in keys]
    for k, token in zip(keys, samples, strict=True):
        time_us = scene.frames[k].timestamp_ns // 1000
        tables.add("sample", token, timestamp=time_us, scene_token=scene.id)
    tables.chain(tables.tables["sample"][-len(samples) :])
    tables.add("scene", scene.id, name=scene.id, description="", log_token="log0", nbr_samples=len(samples),
               first_sample_token=samples[0], last_sample_token=samples[-1])  # fmt: skip
    _nuscenes_lidar(tables, scene, samples, keys)
    for place, channel in enumerate(NUSCENES_CAMERAS):
        _nuscenes_camera(tables, scene, samples, keys, place, channel)


def _sample_of(k: int, samples: list[str], keys: list[int]) -> str:
    # A sweep belongs to the key frame that follows it, the last ones to the last.
    return next((token for key, token in zip(keys, samples, strict=True) if key >= k), samples[-1])


def _nuscenes_lidar(tables: NuScenesTables, scene: MiniScene, samples: list[str], keys: list[int]) -> None:
    mount = tables.pose("calibrated_sensor", f"{scene.id}_LIDAR", EGO_SE3_SENSOR, sensor_token="sensor_LIDAR_TOP",
                        camera_intrinsic=[])  # fmt: skip
    for k, frame in enumerate(scene.frames):
        # world_SE3_lidar = world_SE3_ego · ego_SE3_sensor · sensor_SE3_lidar
        world_SE3_ego = frame.world_SE3_lidar @ np.linalg.inv(EGO_SE3_SENSOR @ YFORWARD_FROM_LIDAR)
        time_us = frame.timestamp_ns // 1000
        ego = tables.pose("ego_pose", f"{scene.id}_ego{k}", world_SE3_ego, timestamp=time_us)
        folder = "samples" if frame.is_key_frame else "sweeps"
        file = f"{folder}/LIDAR_TOP/{scene.id}__LIDAR_TOP__{time_us}.pcd.bin"
        (tables.root / file).parent.mkdir(parents=True, exist_ok=True)
        xyz = frame.points[:, :3] @ YFORWARD_FROM_LIDAR[:3, :3].T
        ring = np.arange(len(xyz)) % 32
        np.column_stack([xyz, frame.points[:, 3], ring]).astype("<f4").tofile(tables.root / file)
        token = tables.add("sample_data", f"{scene.id}_LIDAR{k}", sample_token=_sample_of(k, samples, keys),
                           ego_pose_token=ego, calibrated_sensor_token=mount, timestamp=time_us, fileformat="pcd",
                           is_key_frame=frame.is_key_frame, height=0, width=0, filename=file)  # fmt: skip
        if frame.raw_labels is not None:
            labels = f"lidarseg/{tables.version}/{token}_lidarseg.bin"
            (tables.root / labels).parent.mkdir(parents=True, exist_ok=True)
            frame.raw_labels.astype("u1").tofile(tables.root / labels)
            tables.add("lidarseg", token, sample_data_token=token, filename=labels)
    tables.chain(tables.tables["sample_data"][-len(scene.frames) :])


def _nuscenes_camera(
    tables: NuScenesTables, scene: MiniScene, samples: list[str], keys: list[int], place: int, channel: str
) -> None:
    ego_SE3_camera = EGO_SE3_SENSOR @ YFORWARD_FROM_LIDAR @ np.linalg.inv(camera_SE3_lidar_mount(place))
    mount = tables.pose("calibrated_sensor", f"{scene.id}_{channel}", ego_SE3_camera, sensor_token=f"sensor_{channel}",
                        camera_intrinsic=INTRINSICS.tolist())  # fmt: skip
    for k, frame in enumerate(scene.frames):
        image = next(image for image in frame.images if image.camera == channel)
        time_us = image.timestamp_ns // 1000
        world_SE3_ego = image.world_SE3_camera @ np.linalg.inv(ego_SE3_camera)
        ego = tables.pose("ego_pose", f"{scene.id}_{channel}_ego{k}", world_SE3_ego, timestamp=time_us)
        file = f"{'samples' if frame.is_key_frame else 'sweeps'}/{channel}/{scene.id}__{channel}__{time_us}.jpg"
        _image(tables.root / file)
        tables.add("sample_data", f"{scene.id}_{channel}{k}", sample_token=_sample_of(k, samples, keys),
                   ego_pose_token=ego, calibrated_sensor_token=mount, timestamp=time_us, fileformat="jpg",
                   is_key_frame=frame.is_key_frame, height=HEIGHT, width=WIDTH, filename=file)  # fmt: skip
    tables.chain(tables.tables["sample_data"][-len(scene.frames) :])


# --- mmdet3d ------------------------------------------------------------------------------------------------------


def write_mmdet3d(root: Path, scenes: Sequence[MiniScene]) -> Path:
    """nuScenes as mmdet3d's converter leaves it: one info file, points and pictures below samples/, masks of a byte."""
    entries = [_mmdet3d_entry(root, scene, k) for scene in scenes for k in range(len(scene.frames))]
    order = np.random.default_rng(0).permutation(
        len(entries)
    )  # scenes and times are to be found, not taken as they come
    metainfo = {"categories": {"car": 0}, "dataset": "nuscenes", "version": "v1.0-mini", "info_version": "1.1"}
    info = {"metainfo": metainfo, "data_list": [entries[k] for k in order]}
    (root / "nuscenes_infos_train.pkl").write_bytes(pickle.dumps(info))
    return root


def _mmdet3d_entry(root: Path, scene: MiniScene, k: int) -> dict[str, object]:
    frame = scene.frames[k]
    name = f"{scene.id}__LIDAR_TOP__{frame.timestamp_ns // 1000}"
    for folder in ("samples/LIDAR_TOP", "lidarseg/v1.0-mini"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    xyz = frame.points[:, :3] @ YFORWARD_FROM_LIDAR[:3, :3].T
    records = np.column_stack([xyz, frame.points[:, 3], np.arange(len(xyz)) % 32])
    records.astype("<f4").tofile(root / "samples" / "LIDAR_TOP" / f"{name}.pcd.bin")
    world_SE3_ego = frame.world_SE3_lidar @ np.linalg.inv(EGO_SE3_SENSOR @ YFORWARD_FROM_LIDAR)
    entry: dict[str, object] = {
        "sample_idx": k,
        "scene_token": scene.id,
        "timestamp": frame.timestamp_ns / 1e9,
        "ego2global": world_SE3_ego.tolist(),
        "lidar_points": {"num_pts_feats": 5, "lidar_path": f"{name}.pcd.bin", "lidar2ego": EGO_SE3_SENSOR.tolist()},
        "images": {},
        "instances": [{"bbox_label_3d": 0, "bbox_3d": [1.0, 2, 3, 4, 2, 1.5, 0.1], "bbox_3d_isvalid": np.bool_(True)}],
    }
    if frame.raw_labels is not None:
        frame.raw_labels.astype("u1").tofile(root / "lidarseg" / "v1.0-mini" / f"{name}_lidarseg.bin")
        entry["pts_semantic_mask_path"] = f"{name}_lidarseg.bin"
    for image in frame.images:
        file = f"{scene.id}__{image.camera}__{image.timestamp_ns // 1000}.jpg"
        _image(root / "samples" / image.camera / file)
        lidar2cam = np.linalg.inv(image.world_SE3_camera) @ frame.world_SE3_lidar @ np.linalg.inv(YFORWARD_FROM_LIDAR)
        entry["images"][image.camera] = {  # type: ignore[index]
            "img_path": file, "cam2img": INTRINSICS.tolist(), "lidar2cam": lidar2cam.tolist(),
            "timestamp": image.timestamp_ns / 1e9,
        }  # fmt: skip
    return entry


# --- Argoverse 2 --------------------------------------------------------------------------------------------------


def _feather(path: Path, columns: dict[str, object]) -> None:
    import pyarrow as pa
    import pyarrow.feather

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.feather.write_feather(pa.table(columns), str(path))


def _pose_columns(poses: Sequence[np.ndarray]) -> dict[str, list[float]]:
    wxyz = [quaternion(pose[:3, :3]) for pose in poses]
    rotation = {name: [q[i] for q in wxyz] for i, name in enumerate(("qw", "qx", "qy", "qz"))}
    return rotation | {name: [float(p[i, 3]) for p in poses] for i, name in enumerate(("tx_m", "ty_m", "tz_m"))}


def write_argoverse2(root: Path, scenes: Sequence[MiniScene]) -> Path:
    """Logs under sensor/val; labels for the first sweep only, as flow_labels.feather has them."""
    for scene in scenes:
        log = root / "sensor" / "val" / scene.id
        times = {f.timestamp_ns: f.world_SE3_lidar for f in scene.frames}
        for frame in scene.frames:
            x, y, z, intensity = frame.points.T
            cloud = {"x": x.astype(np.float16), "y": y.astype(np.float16), "z": z.astype(np.float16)}
            cloud |= {"intensity": intensity.astype(np.uint8), "laser_number": np.zeros(len(x), dtype=np.uint8)}
            _feather(log / "sensors" / "lidar" / f"{frame.timestamp_ns}.feather", cloud)
            for image in frame.images:
                _image(log / "sensors" / "cameras" / image.camera / f"{image.timestamp_ns}.jpg")
                times[image.timestamp_ns] = world_SE3_lidar_at(image.timestamp_ns)
        if scene.frames[0].raw_labels is not None:
            _feather(log / "flow_labels.feather", {"classes": scene.frames[0].raw_labels.astype(np.uint8)})
        # Out of order on purpose: the table is looked up by time.
        order = sorted(times, reverse=True)
        columns = {"timestamp_ns": np.array(order, dtype=np.int64)} | _pose_columns([times[t] for t in order])
        _feather(log / "city_SE3_egovehicle.feather", columns)
        _argoverse2_calibration(log, [image.camera for image in scene.frames[0].images])
    return root


def _argoverse2_calibration(log: Path, cameras: list[str]) -> None:
    mounts = [np.linalg.inv(camera_SE3_lidar_mount(place)) for place in range(len(cameras))]
    lens = {"fx_px": INTRINSICS[0, 0], "fy_px": INTRINSICS[1, 1], "cx_px": INTRINSICS[0, 2], "cy_px": INTRINSICS[1, 2]}
    lens |= {"width_px": WIDTH, "height_px": HEIGHT}
    columns = {"sensor_name": cameras} | {name: [value] * len(cameras) for name, value in lens.items()}
    _feather(log / "calibration" / "intrinsics.feather", columns)
    _feather(log / "calibration" / "egovehicle_SE3_sensor.feather", {"sensor_name": cameras} | _pose_columns(mounts))


# --- PandaSet -----------------------------------------------------------------------------------------------------


def pickled_table(path: Path, columns: dict[str, np.ndarray]) -> None:
    """A gzipped pandas pickle; column names as plain objects, as every pandas before 3 wrote them."""
    import gzip

    import pandas as pd

    with pd.option_context("future.infer_string", False):
        table = pd.DataFrame(columns)
    table.columns = pd.Index(list(columns), dtype=object)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(pickle.dumps(table, protocol=4)))


def _pandaset_poses(path: Path, poses: Iterable[np.ndarray]) -> None:
    rows = []
    for pose in poses:
        position = dict(zip("xyz", pose[:3, 3].tolist(), strict=True))
        rows.append({"position": position, "heading": dict(zip("wxyz", quaternion(pose[:3, :3]), strict=True))})
    _text(path, json.dumps(rows))


def write_pandaset(root: Path, scenes: Sequence[MiniScene]) -> Path:
    """Logs with points in the world, and after every point one of the forward sensor (d == 1) that is to be dropped."""
    for scene in scenes:
        log = root / scene.id
        for k, frame in enumerate(scene.frames):
            world = frame.points[:, :3].astype(np.float64) @ frame.world_SE3_lidar[:3, :3].T
            world = np.repeat(world + frame.world_SE3_lidar[:3, 3], 2, axis=0)
            device = np.arange(len(world)) % 2
            world[device == 1] += 7.0
            cloud = dict(zip("xyz", world.T, strict=True)) | {"i": np.repeat(frame.points[:, 3].astype(float), 2)}
            pickled_table(log / "lidar" / f"{k:02d}.pkl.gz", cloud | {"t": np.zeros(len(world)), "d": device})
            if frame.raw_labels is not None:
                classes = np.repeat(frame.raw_labels.astype(np.int64), 2)
                classes[device == 1] = 1
                pickled_table(log / "annotations" / "semseg" / f"{k:02d}.pkl.gz", {"class": classes})
        sensors = [f.world_SE3_lidar @ np.linalg.inv(YFORWARD_FROM_LIDAR) for f in scene.frames]
        _pandaset_poses(log / "lidar" / "poses.json", sensors)
        _text(log / "lidar" / "timestamps.json", _json_seconds(f.timestamp_ns for f in scene.frames))
        for place, image in enumerate(scene.frames[0].images):
            _pandaset_camera(log / "camera" / image.camera, [frame.images[place] for frame in scene.frames])
    return root


def _json_seconds(times_ns: Iterable[int]) -> str:
    return "[" + ", ".join(map(_seconds, times_ns)) + "]"


def _pandaset_camera(folder: Path, images: Sequence[MiniImage]) -> None:
    for k in range(len(images)):
        _image(folder / f"{k:02d}.jpg")
    _pandaset_poses(folder / "poses.json", [image.world_SE3_camera for image in images])
    _text(folder / "timestamps.json", _json_seconds(image.timestamp_ns for image in images))
    lens = {"fx": INTRINSICS[0, 0], "fy": INTRINSICS[1, 1], "cx": INTRINSICS[0, 2], "cy": INTRINSICS[1, 2]}
    _text(folder / "intrinsics.json", json.dumps(lens))


# --- plain folder -------------------------------------------------------------------------------------------------


def write_folder(root: Path, scenes: Sequence[MiniScene], suffix: str = ".bin", trajectory: str = "kitti") -> Path:
    """One scene in a folder that bears its name; clouds are named 1, 2, … 10: text order would be wrong."""
    (scene,) = scenes
    folder = root / scene.id
    write = {".bin": _write_bin, ".pcd": _write_pcd, ".ply": _write_ply}[suffix]
    (folder / "labels").mkdir(parents=True)
    for k, frame in enumerate(scene.frames):
        write(folder / f"{k + 7}{suffix}", frame.points)
        if frame.raw_labels is not None and frame.instances is not None:
            packed = frame.instances << np.uint32(16) | frame.raw_labels
            packed.astype("<u4").tofile(folder / "labels" / f"{k + 7}.label")
    if trajectory == "kitti":
        _text(folder / "poses.txt", _kitti_rows(frame.world_SE3_lidar for frame in scene.frames))
        _text(folder / "times.txt", "".join(_seconds(frame.timestamp_ns) + "\n" for frame in scene.frames))
    else:
        _text(folder / "drive.tum", tum_text(scene.frames))
    return folder


def tum_text(frames: Iterable[MiniFrame]) -> str:
    """Lines of timestamp tx ty tz qx qy qz qw."""
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for frame in frames:
        w, *xyz = quaternion(frame.world_SE3_lidar[:3, :3])
        lines.append(f"{_seconds(frame.timestamp_ns)} {_numbers([*frame.world_SE3_lidar[:3, 3], *xyz, w])}")
    return "\n".join(lines) + "\n"


def _write_bin(path: Path, points: np.ndarray) -> None:
    points.astype("<f4").tofile(path)


def _write_pcd(path: Path, points: np.ndarray) -> None:
    header = "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    header += f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA binary\n"
    path.write_bytes(header.encode() + points.astype("<f4").tobytes())


def _write_ply(path: Path, points: np.ndarray) -> None:
    fields = "".join(f"property float {name}\n" for name in ("x", "y", "z", "intensity"))
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{fields}end_header\n"
    path.write_bytes(header.encode() + points.astype("<f4").tobytes())
