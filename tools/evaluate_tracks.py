# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""How good are the tracks of a drive? `lidal3d track DRIVE --out tracks; python tools/evaluate_tracks.py DRIVE tracks`

Compares tracks with the instances of a drive, where its labels have any (SemanticKITTI, simulated drives) or people drew
cuboids (PandaSet), and says how long a sweep takes to track, in processor time. Where pictures have classes (simulated
drives), it also says how pure the tracks' pixels and crops are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from lidal3d.cli.progress import facts
from lidal3d.errors import UsageError
from lidal3d.rounds.carry_tracks import SAME, answers_of_tracks
from lidal3d.scene.labels import IGNORE
from lidal3d.scene.open import open_drive
from lidal3d.scene.pixels import picture_shape
from lidal3d.scene.readers.pandaset import PandaSetSource
from lidal3d.scene.readers.pandaset_cuboids import read_cuboids
from lidal3d.scene.scene import Frame, Scene
from lidal3d.tracks.cameras import patches_in, pixel_tracks
from lidal3d.tracks.quality import Overlaps, TrackQuality, class_purity, track_quality
from lidal3d.tracks.store import TrackStore
from lidal3d.tracks.table import tracks_of
from lidal3d.tracks.tracker import SegmentTracker
from lidal3d.tracks.units import representatives

KITTI_MOVING = 252  # raw ids from here on are of things that move
SCENE_BITS = 32  # instances and tracks of different scenes are different things


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("drive", type=Path)
    parser.add_argument("tracks", type=Path, help="a folder of `lidal3d track`")
    parser.add_argument("--min-points", type=int, default=20, help="a thing counts in sweeps where it has as many")
    parser.add_argument("--speed", type=int, default=10, help="sweeps that are tracked again to take the time; 0: none")
    arguments = parser.parse_args()
    scenes = open_drive(arguments.drive)
    store = TrackStore.open(arguments.tracks)
    things, classes, moving = overlaps(scenes, store)
    table = things.table()
    judged: list[tuple[str, Callable[[int], bool]]] = [("all things", lambda thing: True)]
    if moving:
        judged += [("moving", lambda thing: thing in moving), ("still", lambda thing: thing not in moving)]
    found = {name: track_quality(table, arguments.min_points, store.config.min_sweeps, among) for name, among in judged}
    print(quality_table(found))
    rows = [(f"{name} ({one.id})", value) for one in scenes for name, value in extent(one, store)]
    rows.append(("class purity of all tracks", f"{class_purity(classes.table()):.3f}"))
    rows += one_query_each(scenes, store)
    rows += in_pictures(arguments.drive, store)
    if arguments.speed:
        rows.append(("processor time a sweep", f"{1e3 * seconds_a_sweep(scenes[0], store, arguments.speed):.1f} ms"))
    print("\n" + facts(rows))


def overlaps(scenes: Sequence[Scene], store: TrackStore) -> tuple[Overlaps, Overlaps, set[int]]:
    """Overlaps with instances, with classes + 1, and the instances that move."""
    things, classes = Overlaps(), Overlaps()
    moving: set[int] = set()
    for number, scene in enumerate(scenes):
        for frame in scene:
            instances = frame.instances()
            if instances is None:
                continue
            here = number << SCENE_BITS
            ids = store.ids(scene.id, frame.name, len(instances)).astype(np.int64)
            track = np.where(ids >= 0, ids + here, -1)
            things.add(track, np.where(instances > 0, instances.astype(np.int64) + here, 0))
            moving |= {int(one) + here for one in moving_instances(frame, instances)}
            labels = frame.labels()
            if labels is not None:
                classes.add(track, np.where(labels == IGNORE, 0, labels.astype(np.int64) + 1))
    return things, classes, moving


def moving_instances(frame: Frame, instances: np.ndarray) -> list[int]:
    """Those that the data set says move."""
    source = frame.scene.source
    if isinstance(source, PandaSetSource):
        path = source.cuboids_path(frame.index)
        cuboids = None if path is None else read_cuboids(path)
        return [] if cuboids is None else cuboids.instance[~cuboids.stationary].tolist()
    raw = frame.raw_labels()
    if frame.scene.dataset != "semantickitti" or raw is None:
        return []
    return np.unique(instances[(raw >= KITTI_MOVING) & (instances > 0)]).tolist()


def one_query_each(scenes: Sequence[Scene], store: TrackStore) -> list[tuple[str, str]]:
    """What people would label if each track were asked about once, and what its answer is worth in other sweeps."""
    asked = carried = right = 0
    for scene in scenes:
        path = store.path(scene.id)
        asked_about = representatives(path, scene.is_key_frame)
        at = np.full(int(path.track.max(initial=-1)) + 2, -1)
        at[path.track[asked_about]] = path.frame[asked_about]
        known = {frame.index: _known(frame, store) for frame in scene if frame.has_labels}
        votes = np.zeros((len(at), IGNORE), np.int64)
        for index, (ids, labels) in known.items():
            here = at[ids] == index
            asked += int(here.sum())
            votes += answers_of_tracks(np.where(here, ids, -1), labels, *votes.shape)
        total = votes.sum(axis=1)
        answers = np.where((total > 0) & (votes.max(axis=1) >= SAME * total), votes.argmax(axis=1), IGNORE)
        for index, (ids, labels) in known.items():
            got = (ids >= 0) & (at[ids] != index) & (answers[ids] != IGNORE) & (labels != IGNORE)
            carried += int(got.sum())
            right += int((answers[ids] == labels)[got].sum())
    return [
        ("asked once a track", f"{asked:,} points"),
        ("carried to other sweeps", f"{carried:,} points, {100 * right / max(carried, 1):.2f} % right"),
    ]


def _known(frame: Frame, store: TrackStore) -> tuple[np.ndarray, np.ndarray]:
    labels = frame.labels()
    assert labels is not None
    return store.ids(frame.scene.id, frame.name, len(labels)), labels


def in_pictures(drive: Path, store: TrackStore) -> list[tuple[str, str]]:
    """How pure tracks are in pictures whose pixels have classes, which neither tracks nor projection have seen."""
    try:
        cameras = open_drive(f"{drive}@*")
    except UsageError:
        return []
    pixels, tracked, total, crops = Overlaps(), 0, 0, []
    scene_numbers = {scene.id: number for number, scene in enumerate(open_drive(drive))}
    for frame in (frame for camera in cameras for frame in camera if frame.has_labels):
        sweep, (image,), labels = frame.sweep(), frame.images(), frame.labels()
        assert labels is not None
        height, width = picture_shape(frame.points())
        xyz = sweep.points()[:, :3]
        ids = store.ids(sweep.scene.id, sweep.name, len(xyz))
        shown = pixel_tracks(image, xyz, ids, (width, height)).ravel().astype(np.int64)
        here = scene_numbers[sweep.scene.id] << SCENE_BITS
        pixels.add(np.where(shown >= 0, shown + here, -1), np.where(labels == IGNORE, 0, labels.astype(np.int64) + 1))
        tracked, total = tracked + int((shown >= 0).sum()), total + len(shown)
        picture = labels.reshape(height, width)
        patches = patches_in(image, xyz, ids, min_points=20)
        for left, top, right, bottom in (patches.box * width // image.width).tolist():
            inside = picture[top : bottom + 1, left : right + 1]
            crops.append(np.bincount(inside[inside != IGNORE], minlength=1).max() / max(inside.size, 1))
    if not total:
        return []
    return [
        ("pixels that show a track", f"{100 * tracked / total:.1f} %"),
        ("class purity of tracks in pictures", f"{class_purity(pixels.table()):.3f}"),
        ("commonest class of a crop", f"{np.mean(crops):.3f} of its pixels, mean of {len(crops)} crops"),
    ]


def extent(scene: Scene, store: TrackStore) -> list[tuple[str, str]]:
    """How many tracks, and how long."""
    tracks = tracks_of(store.path(scene.id))
    mean = tracks.sweeps.mean() if len(tracks) else 0
    return [("tracks", f"{len(tracks)} of {mean:.1f} sweeps on average")]


def seconds_a_sweep(scene: Scene, store: TrackStore, sweeps: int) -> float:
    """The median processor time of tracking a sweep, reading it apart; the first is not counted."""
    tracker, taken = SegmentTracker(store.config), []
    for frame in list(scene)[: sweeps + 1]:
        points = frame.points()
        begin = time.process_time()
        tracker.update(points, scene.scene_SE3_lidar[frame.index], frame.timestamp_ns)
        taken.append(time.process_time() - begin)
    return float(np.median(taken[1:] or taken))


def quality_table(found: dict[str, TrackQuality]) -> str:
    """One column a group of things."""
    lines = [" " * 14 + "".join(f"{name:>12}" for name in found)]
    for each in fields(TrackQuality):
        values = [getattr(quality, each.name) for quality in found.values()]
        lines.append(f"{each.name:<14}" + "".join(f"{v:>12d}" if isinstance(v, int) else f"{v:>12.3f}" for v in values))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
