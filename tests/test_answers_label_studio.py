# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Answers from Label Studio: export, label, export there as JSON, ingest; and everything that may come back wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from picture_drives import HEIGHT, WIDTH, Pictures

from lidal3d.errors import DataError
from lidal3d.export.options import ExportOptions
from lidal3d.export.outlines import at_centres, filled, mask_of, outlines
from lidal3d.export.queue import QueuedUnit, by_frame
from lidal3d.jobs.export import export_job, read_queue
from lidal3d.jobs.ingest import Ingested, ingest_job
from lidal3d.rounds.answers_label_studio import read_label_studio
from lidal3d.rounds.brush import brush_mask, decode
from lidal3d.rounds.label_store import LabelStore
from lidal3d.rounds.ledger import Ledger
from lidal3d.rounds.record import by_people

TRAIN = ("--steps", 1, "--set", "train.width=0.0625")
H, W = HEIGHT // 2, WIDTH // 2
Task = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """A project in Label Studio: tasks that were imported, and where its answers go to."""

    made: Pictures
    folder: Path

    @property
    def export(self) -> Path:
        return self.folder / "project-1.json"

    @property
    def labels(self) -> Path:
        return self.folder / "labels"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.jsonl"

    @property
    def asked(self) -> tuple[QueuedUnit, ...]:
        return read_queue(self.made.selection).asked

    def truth(self, unit: QueuedUnit) -> int:
        """The class that most of a unit's pixels have."""
        labels = self.made.scene[unit.pick.key.frame].labels()
        assert labels is not None
        return int(np.bincount(labels[unit.indices], minlength=256)[:255].argmax())

    def tasks(self, ranks: Sequence[int] = (1, 2, 3, 4)) -> list[Task]:
        """The tasks with one annotation each, in which the units of these ranks have their class."""
        tasks = json.loads((self.made.folder / "to_label" / "tasks.json").read_text())
        classes = {f"rank{unit.pick.rank}": self.made.classes[self.truth(unit)] for unit in self.asked}
        for number, task in enumerate(tasks, start=1):
            regions = deepcopy(task["predictions"][0]["result"])
            for region in regions:
                name = region["id"].partition("-")[0]
                if int(name.removeprefix("rank")) in ranks:
                    region["value"]["polygonlabels"] = [classes[name]]
            task.update(id=number, annotations=[annotation(number, regions)])
        return tasks

    def ingest(self, tasks: list[Task]) -> Ingested:
        self.export.write_text(json.dumps(tasks))
        return ingest_job(self.made.selection, self.export, self.ledger, self.labels)

    def stored(self, frame: int) -> np.ndarray:
        store = LabelStore.open(self.labels)
        return store.labels(self.made.scene.id, self.made.scene[frame].name, H * W)


def annotation(id: int, regions: list[Any], day: int = 1, **more: Any) -> dict[str, Any]:
    told = f"2026-03-{day:02}T10:00:00.500000Z"
    return {"id": id, "result": regions, "was_cancelled": False, "created_at": told, "updated_at": told, **more}


def polygon(corners: Any, name: str) -> dict[str, Any]:
    """A region with corners in pixels of the reduced picture."""
    return region("polygonlabels", name, points=(100 * np.asarray(corners) / [W, H]).tolist(), closed=True)


def region(type: str, name: str, **value: Any) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "drawn", "type": type, **size, "value": {**value, type: [name]}}


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def encoded(values: np.ndarray, sizes: Sequence[int] = (3, 4, 8, 16)) -> list[int]:
    """A packed stream, written as text of zeros and ones: runs of what repeats, and of what does not."""
    parts = [f"{len(values):032b}{7:05b}", *(f"{size - 1:04b}" for size in sizes)]
    single: list[int] = []

    def put(run: list[int], same: bool) -> None:
        while run:
            part, run = run[: 1 << max(sizes)], run[1 << max(sizes) :]
            which = min((i for i, size in enumerate(sizes) if len(part) <= 1 << size), key=lambda i: sizes[i])
            parts.append(f"{int(same)}{which:02b}{len(part) - 1:0{sizes[which]}b}")
            parts.extend(f"{value:08b}" for value in (part[:1] if same else part))

    for _, group in groupby(values.tolist()):
        run = list(group)
        if len(run) == 1:
            single += run
            continue
        put(single, same=False)
        single = []
        put(run, same=True)
    put(single, same=False)
    return packed("".join(parts))


def packed(bits: str) -> list[int]:
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def rgba(mask: np.ndarray) -> np.ndarray:
    """What a brush leaves: colour anywhere, alpha where it has been."""
    return np.stack([np.full_like(mask, 9, np.uint8)] * 3 + [mask * np.uint8(255)], axis=-1).ravel()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    made = Pictures(tmp_path_factory.mktemp("pictures"))
    export_job(made.selection, made.folder / "to_label", "label_studio", options=ExportOptions(url_prefix="s3://b/"))
    return made


@pytest.fixture
def project(made: Pictures, tmp_path: Path) -> Project:
    return Project(made, tmp_path)


def test_what_people_answered_is_in_the_labels_and_in_the_ledger(project: Project) -> None:
    taken = project.ingest(project.tasks())
    pixels = sum(len(unit.indices) for unit in project.asked)
    assert taken == Ingested(1, 4, 0, 0, pixels, 0, 0, outside=0, element="pixel")
    for frame in range(len(project.made.scene)):
        want = np.full(H * W, 255)
        for unit in by_frame(project.asked).get((project.made.scene.id, frame), []):
            want[unit.indices] = project.truth(unit)
        np.testing.assert_array_equal(project.stored(frame), want)
    records = by_people(Ledger.open(project.ledger, [project.made.scene]).records)
    assert [record.key for record in records] == [unit.pick.key for unit in project.asked]
    before = project.ledger.read_bytes()
    again = project.ingest(project.tasks())
    assert (again.answered, again.known, again.open, again.round) == (0, 4, 0, 1)
    assert project.ledger.read_bytes() == before


def test_what_nobody_has_answered_stays_open(project: Project) -> None:
    first = project.ingest(project.tasks(ranks=(2, 3)))
    assert (first.answered, first.known, first.open) == (2, 0, 2)
    tasks = project.tasks(ranks=(1, 2, 3))
    second = project.ingest([task for task in tasks if task["data"]["frame"] == project.asked[0].pick.key.frame])
    assert (second.answered, second.open) == (1, 3 - second.known)
    unlabelled = project.tasks()
    for task in unlabelled:
        task["annotations"] = []
    third = project.ingest(unlabelled)
    assert (third.answered, third.points) == (0, 0)
    assert project.ingest(project.tasks()).answered == 1
    for unit in project.asked:  # and what was there has stayed
        assert (project.stored(unit.pick.key.frame)[unit.indices] == project.truth(unit)).all()


def test_the_last_annotation_that_is_not_cancelled_counts(project: Project) -> None:
    tasks = project.tasks()
    for task in tasks:
        (right,) = task["annotations"]
        right = {**right, "id": 7, "updated_at": "2026-03-05T12:00:00+02:00", "created_at": "2026-01-01T00:00:00Z"}
        wrong = [polygon(rectangle(0, 0, W, H), project.made.classes[0])]
        task["annotations"] = [
            annotation(8, wrong, day=4),
            right,
            annotation(6, wrong, day=5, updated_at="2026-03-05T10:00:00Z"),  # the same time, an earlier number
            annotation(9, wrong, day=6, was_cancelled=True),
        ]
    # A picture that was imported twice, and opened once.
    taken = project.ingest([*tasks, {**tasks[0], "id": 99, "annotations": []}])
    assert (taken.answered, taken.outside) == (4, 0)
    for unit in project.asked:
        assert (project.stored(unit.pick.key.frame)[unit.indices] == project.truth(unit)).all()


def of_first(project: Project, tasks: list[Task]) -> Task:
    """The task of the unit with rank 1."""
    return next(task for task in tasks if task["data"]["rank"] == 1)


def test_a_brush_mask_counts_at_the_centres_of_the_reduced_pixels(project: Project) -> None:
    unit, tasks = project.asked[0], project.tasks(ranks=())
    drawn = np.zeros((HEIGHT, WIDTH), bool)
    drawn[1::2, 1::2] = mask_of(unit.indices, H, W)  # half the picture's size: a centre is the fourth of four pixels
    brush = region("brushlabels", project.made.classes[3], format="rle", rle=encoded(rgba(drawn)))
    of_first(project, tasks)["annotations"][0]["result"].append(brush)
    taken = project.ingest(tasks)
    assert (taken.answered, taken.open, taken.points, taken.outside) == (1, 3, len(unit.indices), 0)
    assert (project.stored(unit.pick.key.frame)[unit.indices] == 3).all()


def test_what_overruns_a_unit_is_left_out_and_counted(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    unit, tasks = project.asked[0], project.tasks(ranks=())
    row, column = unit.indices // W, unit.indices % W
    x0, y0, x1, y1 = column.min() - 2, row.min() - 2, column.max() + 3, row.max() + 3
    of_first(project, tasks)["annotations"][0]["result"] = [polygon(rectangle(x0, y0, x1, y1), project.made.classes[2])]
    drawn = np.zeros((H, W), bool)
    drawn[max(y0, 0) : y1, max(x0, 0) : x1] = True
    mine = np.concatenate([one.indices for one in project.asked if one.pick.key.frame == unit.pick.key.frame])
    beside = int(drawn.sum() - drawn.ravel()[mine].sum())
    assert beside > 0
    assert project.ingest(tasks).outside == beside
    want = np.full(H * W, 255)
    want[mine] = np.where(drawn.ravel()[mine], 2, 255)
    np.testing.assert_array_equal(project.stored(unit.pick.key.frame), want)
    said = CommandLine(capsys).fine(*ingesting(project))
    assert f"{beside} pixels in no unit of the queue, left out" in said


def test_a_unit_that_keeps_its_polygon_is_answered_by_half_of_its_pixels_or_more(project: Project) -> None:
    unit, tasks = project.asked[0], project.tasks(ranks=())
    task, count = of_first(project, tasks), len(unit.indices)
    waiting = [region for region in task["annotations"][0]["result"] if region["id"].partition("-")[0] == "rank1"]

    def of_pixels(pixels: np.ndarray) -> list[dict[str, Any]]:
        return [polygon(corners, project.made.classes[2]) for corners in outlines(mask_of(pixels, H, W))]

    few, half = of_pixels(unit.indices[: (count - 1) // 2]), of_pixels(unit.indices[: (count + 1) // 2])
    for drawn, answered in ((waiting + few, 0), (few, (count - 1) // 2), (waiting + half, (count + 1) // 2)):
        task["annotations"][0]["result"] = drawn
        anew = replace(project, folder=project.folder / f"{len(drawn)}-{answered}")
        anew.folder.mkdir()
        taken = anew.ingest([task])
        assert (taken.answered, taken.points, taken.outside) == (bool(answered), answered, 0)


def test_later_regions_are_painted_over_earlier_ones(project: Project) -> None:
    unit, tasks, classes = project.asked[0], project.tasks(ranks=()), project.made.classes
    corners = outlines(mask_of(unit.indices, H, W))[0]
    middle = unit.indices[len(unit.indices) // 2]
    pixel = rectangle(middle % W, middle // W, middle % W + 1, middle // W + 1)
    of_first(project, tasks)["annotations"][0]["result"] = [
        polygon(corners, classes[5]), polygon(pixel, classes[6]), polygon(corners, "to_label"),
        {"id": "note", "type": "textarea", "value": {"text": ["a tree?"]}},
        {**polygon(corners, ""), "type": "polygon"},
    ]  # fmt: skip
    assert project.ingest(tasks).points == len(unit.indices)
    labels = project.stored(unit.pick.key.frame)[unit.indices]
    np.testing.assert_array_equal(labels, np.where(unit.indices == middle, 6, 5))


def test_what_people_drew_over_a_guess_corrects_it(project: Project) -> None:
    queue, classes = read_queue(project.made.selection), project.made.classes
    first = queue.asked[0]
    guess = replace(first, labels=np.full(len(first.indices), 4, np.uint8))
    queue = replace(queue, asked=queue.asked[1:], assumed=(guess,))
    tasks = project.tasks(ranks=())
    half = mask_of(first.indices[::2], H, W)
    drawn = [polygon(corners, classes[5]) for corners in outlines(half)]
    drawn.append(polygon(outlines(mask_of(first.indices[:1], H, W))[0], classes[4]))
    of_first(project, tasks)["annotations"][0]["result"] = drawn
    project.export.write_text(json.dumps([of_first(project, tasks)]))
    (frame,) = read_label_studio(project.export, queue, {project.made.scene.id: project.made.scene}, classes)
    assert frame.corrected == len(first.indices[::2]) - 1
    assert frame.answered == ()
    want = np.full(H * W, 255)
    want[first.indices[::2]] = 5
    want[first.indices[0]] = 4
    np.testing.assert_array_equal(frame.labels, want)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_filling_the_outlines_of_a_mask_gives_it_back(mask: np.ndarray) -> None:
    height, width = mask.shape
    found = np.zeros(mask.shape, bool)
    for corners in outlines(mask):
        percent = (100.0 * corners / [width, height]).round(6)  # as a task has them
        part = filled(percent / 100 * [width, height], height, width)
        assert not (found & part).any()
        found |= part
    np.testing.assert_array_equal(found, mask)


@given(st.lists(st.tuples(st.integers(-20, 80), st.integers(-20, 60)), min_size=1, max_size=9))
def test_a_pixel_is_filled_where_its_centre_lies_inside(eighths: list[tuple[int, int]]) -> None:
    corners, height, width = np.array(eighths) / 8, 5, 7
    found = filled(corners, height, width)
    for row in range(height):
        for column in range(width):
            crossings = [
                x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0) - (column + 0.5)
                for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True)
                if min(y0, y1) <= row + 0.5 < max(y0, y1)
            ]
            if not crossings or min(map(abs, crossings)) > 1e-9:  # on an edge either answer is right
                assert found[row, column] == (sum(crossing < 0 for crossing in crossings) % 2 == 1)


@given(
    hnp.arrays(np.uint8, st.integers(1, 300), elements=st.sampled_from([0, 0, 0, 255, 255, 7])),
    st.lists(st.integers(1, 16), min_size=4, max_size=4),
)
@settings(deadline=None)
def test_packed_values_come_back(values: np.ndarray, sizes: list[int]) -> None:
    np.testing.assert_array_equal(decode(encoded(values, sizes), len(values)), values)


def test_the_mask_is_the_alpha() -> None:
    mask = np.random.default_rng(0).random((5, 9)) < 0.5
    np.testing.assert_array_equal(brush_mask(encoded(rgba(mask)), 9, 5), mask)
    # By hand: 8 values of 8 bits, lengths of 1, 2, 3 or 4 bits; 3 times 0, then 255, then 4 times 0.
    stream = f"{8:032b}{7:05b}000000010010001110110000000000000111111111011100000000"
    assert brush_mask(packed(stream), 2, 1).tolist() == [[True, False]]
    assert at_centres(np.arange(12).reshape(3, 4), 2, 1).tolist() == [[5, 7]]


def brushed(rle: Any) -> Callable[[Task], None]:
    return lambda task: task["annotations"][0]["result"].append(region("brushlabels", "car", format="rle", rle=rle))


def drawn(**changes: Any) -> Callable[[Task], None]:
    """The whole picture as a car, with something changed."""
    return lambda task: task["annotations"][0]["result"].append({**polygon(rectangle(0, 0, W, H), "car"), **changes})


def renamed(name: str) -> Callable[[Task], None]:
    return lambda task: task["annotations"][0]["result"].append(polygon(rectangle(0, 0, W, H), name))


EMPTY = encoded(rgba(np.zeros((HEIGHT, WIDTH), bool)))
COUNT = 4 * WIDTH * HEIGHT


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda task: task["data"].update(scene="77"), "answers scene 77 frame 1"),
        (lambda task: task["data"].update(frame_name="other"), "(other), which the queue never asked about"),
        (lambda task: task["data"].pop("frame"), "names no frame; import the tasks that `lidal3d export` wrote"),
        (renamed("cars"), "class 'cars' is none of the queue's 19 (the nearest is 'car'); rename it"),
        (renamed("?"), "class '?' is none of the queue's 19 (known: car, "),
        (drawn(image_rotation=90), "rotated by 90 degrees, not 0"),
        (drawn(original_width=640), f"a picture of 640 × {HEIGHT}, the drive's 000001.png has {WIDTH} × {HEIGHT}"),
        (drawn(type="rectanglelabels"), "of type rectanglelabels; draw polygons or use the brush"),
        (drawn(value={"points": [[1, 2]], "polygonlabels": ["car", "road"]}), "has 2 classes (car, road)"),
        (drawn(value={"points": [1, 2, 3], "polygonlabels": ["car"]}), "corners of shape (3,), expected (K, 2)"),
        (drawn(value={"points": [[1], [2, 3]], "polygonlabels": ["car"]}), "region drawn: damaged ("),
        (drawn(value={"polygonlabels": ["car"]}), "damaged (KeyError('points'))"),
        (drawn(value=None), "damaged ("),
        (brushed(EMPTY[:-1]), f"its RLE ends after {len(EMPTY) - 1} bytes"),
        (brushed(encoded(np.zeros(8, np.uint8))), f"its RLE holds 8 values, the picture has {COUNT}"),
        (brushed([*EMPTY[:4], EMPTY[4] | 0x80, *EMPTY[5:]]), "its RLE has values of 24 bits, not 8"),
        (brushed(packed(f"{COUNT:032b}{7:05b}{0xFFFF:016b}" "1" "00" f"{0xFFFF:016b}" "00000000")), f"its RLE goes on to value 65536 of {COUNT}"),
        (brushed(7), "its RLE is no list of bytes"),
        (brushed([300]), "its RLE is no list of bytes"),
        (lambda task: task["annotations"][0].pop("id"), "a damaged annotation (KeyError('id'))"),
        (lambda task: task["annotations"][0].update(updated_at="now"), "a damaged annotation ("),
        (lambda task: task.update(annotations=[3]), "a damaged annotation ("),
        (lambda task: task.pop("annotations"), "tasks without annotations, as they were imported"),
        (lambda task: task.pop("data"), "as in a JSON-MIN export; export from Label Studio again, as JSON"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(project: Project, change: Callable[[Task], None], words: str) -> None:
    tasks = project.tasks()
    tasks.sort(key=lambda task: task["data"]["frame"])
    assert tasks[0]["data"]["frame"] == 1
    change(tasks[0])
    with pytest.raises(DataError) as error:
        project.ingest(tasks)
    assert words in str(error.value)
    assert str(error.value).startswith(f"{project.export}: ")
    assert "\n" not in str(error.value)
    assert not project.ledger.exists()
    assert not project.labels.exists()


def test_files_that_are_no_export_are_refused(project: Project) -> None:
    def refused(text: str, words: str) -> None:
        project.export.write_text(text)
        with pytest.raises(DataError) as error:
            ingest_job(project.made.selection, project.export, project.ledger, project.labels)
        assert words in str(error.value)
        assert "\n" not in str(error.value)

    refused(json.dumps(project.tasks())[:-20], "not whole JSON (")
    refused("[" * 100_000, "not whole JSON (")
    refused("[]", "0 tasks; import tasks.json into a project, and export that")
    refused("{}", "no list of tasks")
    minimal = [{"id": 1, "image": "a.png", "scene": "00.image_2", "frame": 0, "label": [], "annotator": 1}]
    refused(json.dumps(minimal), "as in a JSON-MIN export")
    with pytest.raises(DataError, match=r"none\.json: no answers there \(No such file"):
        ingest_job(project.made.selection, project.folder / "none.json", project.ledger, project.labels)


def test_a_folder_may_hold_the_export(project: Project) -> None:
    folder = project.folder / "answers"
    folder.mkdir()

    def take() -> Ingested:
        return ingest_job(project.made.selection, folder, project.ledger, project.labels)

    with pytest.raises(DataError, match=r"no window with a map\.json; .*, or Label Studio's JSON export"):
        take()
    (folder / "tasks.json").write_text((project.made.folder / "to_label" / "tasks.json").read_text())
    with pytest.raises(DataError, match=r"tasks\.json: tasks without annotations"):
        take()
    (folder / "project.json").write_text(json.dumps(project.tasks()))
    assert take().answered == 4
    (folder / "second.json").write_text("[]")
    with pytest.raises(DataError, match=r"2 \.json files \(project\.json, second\.json, …\); give one of them"):
        take()


def test_sweeps_are_not_answered_in_label_studio(project: Project) -> None:
    project.export.write_text(json.dumps(project.tasks()))
    lidar = replace(project.made.scene, sensor="lidar")
    with pytest.raises(DataError, match="has sweeps, Label Studio shows pictures"):
        read_label_studio(project.export, read_queue(project.made.selection), {lidar.id: lidar}, project.made.classes)


def ingesting(project: Project) -> tuple[object, ...]:
    return "ingest", project.made.selection, project.export, "--ledger", project.ledger, "-o", project.labels


def test_the_commands_lead_from_answers_to_a_model(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    lidal3d = CommandLine(capsys)
    project.export.write_text(json.dumps(project.tasks()))
    said = lidal3d.fine(*ingesting(project))
    assert f"{sum(len(unit.indices) for unit in project.asked):,} pixels in" in said
    assert "outside" not in said
    told = lidal3d.fine(
        "train", project.made.address, "--labels", project.labels, "-o", project.folder / "model", *TRAIN
    )
    frames = {unit.pick.key.frame for unit in project.asked}
    assert f"{len(frames)} labelled frame" in told
    readme = (project.made.folder / "to_label" / "README.txt").read_text()
    assert "lidal3d ingest QUEUE EXPORT.json --ledger ledger.jsonl --out labels" in readme
