# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""A detector to try the bridge with, where no pretrained weights are at hand: mmdet3d's PointPillars, a short training.

    python tools/mmdet3d_train.py simulate --frames 120 --hz 1 --seed 3 --out sim --boxes sim_boxes    (lidal3d's environment)
    DIR/bin/python tools/mmdet3d_train.py train sim --boxes sim_boxes --steps 1200 --batch 1 --out weights.pth     (mmdet3d's)
    python tools/mmdet3d_train.py compare boxes --truth sim_boxes                                       (either)

`simulate` writes a simulated drive and the boxes of its cars, people and cyclists in the format that `detect` writes,
scores 1 and 0. Movers have their true heading; of what stands still the heading is known up to half a turn. `train` cuts
a square out of each sweep, turned at random, to be quick on a CPU: the weights then fit the whole config.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, cKDTree

from lidal3d.files import replacing
from lidal3d.predictions.boxes import BoxStore
from lidal3d.scene.open import open_drive
from lidal3d.scene.pose import inverse

CONFIG = "pointpillars/pointpillars_hv_secfpn_8xb6-160e_kitti-3d-3class.py"
CLASSES = ("Pedestrian", "Cyclist", "Car")  # the config's order
MOVERS = {"person": 0, "bicyclist": 1, "motorcyclist": 1, "car": 2}
STILL = {30: 0, 31: 1, 32: 1, 10: 2}  # raw SemanticKITTI ids
SQUARE_M = 20.48
FEWEST_POINTS = 10
Float64 = npt.NDArray[np.float64]


# --- simulate ----------------------------------------------------------------------------------------------------


def simulate_boxes(frames: int, seed: int, hz: float, drive_path: Path, boxes_path: Path) -> str:
    """Write a simulated drive and its boxes; returns what to tell."""
    from lidal3d.sim import SimConfig, simulate, write_drive

    config = SimConfig(frames=frames, seed=seed, hz=hz, camera=False)
    write_drive(config, drive_path)
    drive, count = simulate(config), 0
    store = BoxStore(boxes_path, CLASSES, "what the simulator put there")
    (scene,) = open_drive(drive_path)
    for frame in scene:
        world_boxes, labels = actor_boxes(drive, frame.index)
        boxes = in_lidar(world_boxes, drive.world_SE3_lidar[frame.index])
        seen = points_inside(frame.points()[:, :3].astype(np.float64), boxes) >= FEWEST_POINTS
        scores = np.eye(len(CLASSES), dtype=np.float32)[labels[seen]]
        store.write(scene.id, frame.name, boxes[seen], scores)
        count += int(seen.sum())
    store.write_header()
    return f"{frames} sweeps, {count} boxes with {FEWEST_POINTS} points or more"


def actor_boxes(drive: Any, index: int) -> tuple[Float64, npt.NDArray[np.int64]]:
    """(B, 7) boxes in the world and (B,) classes of what moves and what stands round the ego vehicle at one frame."""
    from lidal3d.sim.ego import standing_on

    cast, boxes, labels = cast_of(drive.config.style, drive.config.seed), [], []
    for actor in (a for a in drive.actors(index) if a.kind in MOVERS):
        pose = standing_on(drive.town.ground, np.array([(actor.x, actor.y)]), np.array([actor.yaw]))[0]
        vertices = cast.mesh([actor]).vertices
        boxes.append(box_along(vertices, np.arctan2(pose[1, 0], pose[0, 0])))
        labels.append(MOVERS[actor.kind])
    spacing = drive.style.spacing_m
    i0, j0 = np.round(drive.world_SE3_lidar[index, :2, 3] / spacing).astype(int)
    for i in range(i0 - 1, i0 + 2):
        for j in range(j0 - 1, j0 + 2):
            for box, label in still_boxes(drive.config.style, drive.config.seed, int(i), int(j)):
                boxes.append(box)
                labels.append(label)
    return np.array(boxes).reshape(-1, 7), np.array(labels, dtype=np.int64)


@cache
def still_boxes(style: str, seed: int, i: int, j: int) -> list[tuple[Float64, int]]:
    """Boxes in the world and classes of a tile's parked cars and standing people."""
    from lidal3d.sim.world import build_tile

    mesh, found = build_tile(style, seed, (i, j), 1).mesh, []
    faces = np.flatnonzero(np.isin(mesh.semantic, list(STILL)) & (mesh.instance > 0))
    for instance in np.unique(mesh.instance[faces]):
        own = faces[mesh.instance[faces] == instance]
        vertices = mesh.vertices[np.unique(mesh.triangles[own])]
        box = box_along(vertices, snug_yaw(vertices[:, :2]))
        if box[3] < 8.0:  # the last number of a tile is shared by what is too many for it
            found.append((box, STILL[int(mesh.semantic[own[0]])]))
    return found


@cache
def cast_of(style: str, seed: int) -> Any:
    """The moving models of a town, built once."""
    from lidal3d.sim.actors import Cast
    from lidal3d.sim.world import build_town

    return Cast.build(build_town(style, seed))


def snug_yaw(plan: Float64) -> float:
    """The heading, to a degree, of the smallest rectangle round places (V, 2), along its longer side."""
    corners, angles = plan[ConvexHull(plan).vertices], np.radians(np.arange(180))
    along = corners @ np.stack([np.cos(angles), np.sin(angles)])
    across = corners @ np.stack([-np.sin(angles), np.cos(angles)])
    length, width = np.ptp(along, axis=0), np.ptp(across, axis=0)
    return float(angles[np.lexsort([width, np.round(length * width, 9)])[0]])


def box_along(vertices: Float64, yaw: float) -> Float64:
    """The smallest upright box (7,) round vertices (V, 3) with that heading."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    inside = vertices @ turn
    low, high = inside.min(axis=0), inside.max(axis=0)
    return np.concatenate([turn @ (low + high) / 2, high - low, [yaw]])


def in_lidar(boxes: Float64, world_SE3_lidar: Float64) -> Float64:
    """World boxes (B, 7) in the sensor frame, which the road tilts by little: they stay upright."""
    lidar_SE3_world = inverse(world_SE3_lidar)
    moved = boxes.copy()
    moved[:, :3] = boxes[:, :3] @ lidar_SE3_world[:3, :3].T + lidar_SE3_world[:3, 3]
    moved[:, 6] += np.arctan2(lidar_SE3_world[1, 0], lidar_SE3_world[0, 0])
    return moved


def points_inside(points: Float64, boxes: Float64) -> npt.NDArray[np.int64]:
    """(B,) how many points (N, 3) lie in each box, its walls 5 cm out."""
    counts = np.zeros(len(boxes), dtype=np.int64)
    near = cKDTree(points).query_ball_point(boxes[:, :3], np.linalg.norm(boxes[:, 3:6], axis=1) / 2 + 0.1)
    for k, (box, rows) in enumerate(zip(boxes, near, strict=True)):
        away, c, s = points[rows] - box[:3], np.cos(box[6]), np.sin(box[6])
        own = np.column_stack([away[:, 0] * c + away[:, 1] * s, away[:, 1] * c - away[:, 0] * s, away[:, 2]])
        counts[k] = (np.abs(own) < box[3:6] / 2 + 0.05).all(axis=1).sum()
    return counts


# --- train -------------------------------------------------------------------------------------------------------


def train(
    drive_path: Path, boxes_path: Path, steps: int, batch: int, seed: int, out: Path, initial: Path | None = None
) -> str:
    """Train PointPillars and save its weights; prints the loss every ten steps and returns what to tell."""
    import torch
    from mmdet3d.registry import MODELS
    from mmdet3d_model import load_weights, read_config
    from mmengine.registry import init_default_scope

    config = read_config(CONFIG, square_options())
    init_default_scope("mmdet3d")
    torch.manual_seed(seed)
    net = MODELS.build(config.model)
    net.init_weights()
    if initial is not None:
        load_weights(net, initial, trust=False)
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    # A batch of one square: at 3e-3 the loss leapt up again and again.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps, pct_start=0.3)
    samples, began, losses = endless_samples(drive_path, boxes_path, np.random.default_rng(seed)), perf_counter(), []
    for step in range(1, steps + 1):
        data = packed([next(samples) for _ in range(batch)])
        loss, _ = net.parse_losses(net(**net.data_preprocessor(data, True), mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 10 == 0:
            print(f"step {step}  loss {np.mean(losses[-10:]):.3f}  {perf_counter() - began:.0f} s", flush=True)
    with replacing(out) as temporary:
        torch.save({"state_dict": net.state_dict(), "meta": {"dataset_meta": {"classes": CLASSES}}}, temporary)
    return f"{steps} steps of {batch} squares, loss {np.mean(losses[:10]):.3f} -> {np.mean(losses[-10:]):.3f}"


def square_options() -> list[str]:
    """Config options that make PointPillars learn from a square before the car."""
    half, cells = SQUARE_M / 2, round(SQUARE_M / 0.16)
    whole = [0.0, -half, -3.0, SQUARE_M, half, 1.0]
    anchors = [[0.0, -half, z, SQUARE_M, half, z] for z in (-0.6, -0.6, -1.78)]
    return [
        f"model.data_preprocessor.voxel_layer.point_cloud_range={whole}",
        f"model.voxel_encoder.point_cloud_range={whole}",
        f"model.middle_encoder.output_shape={[cells, cells]}",
        f"model.bbox_head.anchor_generator.ranges={anchors}",
        # Of 32 points a pillar, mostly empty places, the layer before the map takes more time than all that follow.
        "model.data_preprocessor.voxel_layer.max_num_points=8",
        # KITTI's cars are smaller: at its 0.6 hardly an anchor would be right. Only training reads these.
        "model.train_cfg.assigner.2.pos_iou_thr=0.5",
        "model.train_cfg.assigner.2.neg_iou_thr=0.35",
    ]


def endless_samples(drive: Path, boxes: Path, rng: np.random.Generator) -> Iterator[tuple[Any, Float64, Any]]:
    """Points (N, 4), boxes (B, 7) and labels (B,) of sweeps in random order, turned, mirrored and scaled at random."""
    frames = [frame for scene in open_drive(drive) for frame in scene]
    while True:
        for k in rng.permutation(len(frames)):
            frame = frames[k]
            stored = np.load(boxes / "boxes" / frame.scene.id / f"{frame.name}.npz", allow_pickle=False)
            points, truth = frame.points().astype(np.float64), stored["boxes"].astype(np.float64)
            # Streets meet at right angles: so most cars lie nearly along an anchor, as they will where it looks.
            yaw = rng.integers(4) * np.pi / 2 + rng.uniform(-np.pi / 8, np.pi / 8)
            points, truth = turned(points, truth, yaw, rng.random() < 0.5, rng.uniform(0.95, 1.05))
            inside = (truth[:, 0] > 0) & (truth[:, 0] < SQUARE_M) & (np.abs(truth[:, 1]) < SQUARE_M / 2)
            if inside.any():
                yield points.astype(np.float32), truth[inside], stored["scores"].argmax(axis=1)[inside]


def turned(points: Float64, boxes: Float64, yaw: float, mirror: bool, scale: float) -> tuple[Float64, Float64]:
    """Points (N, 4) and boxes (B, 7) turned about z, then mirrored left to right where asked, then scaled."""
    c, s, sign = np.cos(yaw), np.sin(yaw), -1.0 if mirror else 1.0
    turn = np.array([[c, s * sign], [-s, c * sign]]) * scale
    points, boxes = points.copy(), boxes.copy()
    points[:, :2], points[:, 2] = points[:, :2] @ turn, points[:, 2] * scale
    boxes[:, :2], boxes[:, 2:6], boxes[:, 6] = boxes[:, :2] @ turn, boxes[:, 2:6] * scale, (boxes[:, 6] + yaw) * sign
    return points, boxes


def packed(samples: list[tuple[Any, Float64, Any]]) -> dict[str, Any]:
    """Samples as mmdet3d's preprocessor takes them."""
    import torch
    from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
    from mmengine.structures import InstanceData

    answers = []
    for _, boxes, labels in samples:
        answer = Det3DDataSample(metainfo={"box_type_3d": LiDARInstance3DBoxes})
        truth = LiDARInstance3DBoxes(torch.tensor(boxes, dtype=torch.float32), origin=(0.5, 0.5, 0.5))
        answer.gt_instances_3d = InstanceData(bboxes_3d=truth, labels_3d=torch.tensor(labels))
        answers.append(answer)
    return {"inputs": {"points": [torch.from_numpy(points) for points, _, _ in samples]}, "data_samples": answers}


# --- compare -----------------------------------------------------------------------------------------------------


def compare(found: Path, truth: Path, distance_m: float, score: float = 0.0) -> str:
    """A line a class: boxes found with a score or a higher one, boxes there, the share of these found, and the AP."""
    where = f"centres within {distance_m:g} m, scores from {score:g}, x 0 … 69 m, |y| < 39 m"
    lines = [f"{'class':12s} {'found':>6s} {'true':>6s} {'recall':>7s} {'AP':>6s}   ({where})"]
    for label, name in enumerate(CLASSES):
        hits: list[tuple[float, bool]] = []
        total = 0
        for path in sorted((truth / "boxes").rglob("*.npz")):
            there = in_view(np.load(path), label)[0]
            answer, scores = in_view(np.load(found / path.relative_to(truth)), label)
            total, sure = total + len(there), scores >= score
            hits += matched(answer[sure], scores[sure], there, distance_m)
        recall = sum(right for _, right in hits) / total if total else float("nan")
        lines.append(f"{name:12s} {len(hits):6d} {total:6d} {recall:7.3f} {average_precision(hits, total):6.3f}")
    return "\n".join(lines)


def in_view(stored: Any, label: int) -> tuple[Any, Any]:
    """Centres (K, 2) and scores (K,) of the boxes whose best class is `label`, where the config looks."""
    boxes, scores = stored["boxes"], stored["scores"]
    view = (boxes[:, 0] > 0) & (boxes[:, 0] < 69) & (np.abs(boxes[:, 1]) < 39) & (scores.argmax(axis=1) == label)
    return boxes[view, :2], scores[view, label]


def matched(answer: Any, scores: Any, there: Any, distance_m: float) -> list[tuple[float, bool]]:
    """(score, right?) of each answer, best first; a true box is found once."""
    free, out = np.ones(len(there), dtype=bool), []
    for k in np.argsort(-scores, kind="stable"):
        away = np.where(free, np.linalg.norm(there - answer[k], axis=1), np.inf) if len(there) else np.array([np.inf])
        right = bool(away.min() <= distance_m)
        if right:
            free[away.argmin()] = False
        out.append((float(scores[k]), right))
    return out


def average_precision(hits: list[tuple[float, bool]], total: int) -> float:
    """Area under precision over recall; NaN where there is nothing to find."""
    if not total:
        return float("nan")
    right = np.array([hit for _, hit in sorted(hits, key=lambda pair: -pair[0])], dtype=float)
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float((precision * right).sum() / total)


# --- the command -------------------------------------------------------------------------------------------------


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("simulate", help="a drive and its boxes")
    making.add_argument("--frames", type=int, default=40)
    making.add_argument("--hz", type=float, default=10.0, help="sweeps a second")
    making.add_argument("--out", type=Path, required=True, help="the drive")
    making.add_argument("--boxes", type=Path, required=True)
    training = commands.add_parser("train", help="PointPillars on a drive with boxes")
    training.add_argument("drive", type=Path)
    training.add_argument("--boxes", type=Path, required=True)
    training.add_argument("--steps", type=int, default=300)
    training.add_argument("--batch", type=int, default=2)
    training.add_argument("--initial", type=Path, help="weights of an earlier training to go on from")
    training.add_argument("--out", type=Path, required=True, help="the weights")
    for command in (making, training):
        command.add_argument("--seed", type=int, default=0)
    comparing = commands.add_parser("compare", help="recall and average precision of boxes")
    comparing.add_argument("found", type=Path)
    comparing.add_argument("--truth", type=Path, required=True)
    comparing.add_argument("--distance", type=float, default=1.0, help="metres between centres")
    comparing.add_argument("--score", type=float, default=0.0, help="leave out boxes with less")
    a = parser.parse_args()
    if a.command == "simulate":
        print(simulate_boxes(a.frames, a.seed, a.hz, a.out, a.boxes))
    elif a.command == "train":
        print(train(a.drive, a.boxes, a.steps, a.batch, a.seed, a.out, a.initial))
    else:
        print(compare(a.found, a.truth, a.distance, a.score))


if __name__ == "__main__":
    main()
