# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Training encoders without labels: views, pairs, every method on sweeps and pictures, the file and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pretrain_drives import TINY, pictures, street, with_points  # noqa: E402

from lidal3d.config import Config  # noqa: E402
from lidal3d.errors import DataError, UsageError  # noqa: E402
from lidal3d.learn.pretrain.camera_pairs import picture_with, pixel_regions  # noqa: E402
from lidal3d.learn.pretrain.encoders import ImageEncoder, SparseEncoder, build_encoder, pooled  # noqa: E402
from lidal3d.learn.pretrain.file import ENCODER_FILE, is_pretrained, load_pretrained  # noqa: E402
from lidal3d.learn.pretrain.frames import FrameOrder  # noqa: E402
from lidal3d.learn.pretrain.methods import METHODS, method_named  # noqa: E402
from lidal3d.learn.pretrain.pairs import NeighbourPairs, neighbours  # noqa: E402
from lidal3d.learn.pretrain.train import pretrain  # noqa: E402
from lidal3d.learn.pretrain.two_views import shared_regions  # noqa: E402
from lidal3d.learn.pretrain.views import View, carried_regions, random_picture, random_sweep  # noqa: E402
from lidal3d.scene.open import open_drive  # noqa: E402
from lidal3d.scene.projection import visible_pixels  # noqa: E402

EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
SPARSE, IMAGE = street(), pictures()


def weights_of(module: torch.nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in module.state_dict().values())


# --- views -----------------------------------------------------------------------------------------------------------


def test_a_view_of_a_sweep_is_a_turn_of_some_of_its_points() -> None:
    points = SPARSE[0].points()
    view = View(points, np.arange(len(points), dtype=np.int32))
    settings = TINY.pretrain.model_copy(update={"jitter_m": 0.0, "intensity_noise": 0.0})
    seen = random_sweep(view, settings, np.random.default_rng(0))
    original = points[seen.region]
    assert len(seen.elements) >= (1 - settings.drop) * len(points) - 5 * np.sqrt(len(points))
    assert np.array_equal(seen.elements[:, 3], original[:, 3])
    # Turning, mirroring and one scale leave the ratio of all distances to the sensor alone.
    ratio = np.linalg.norm(seen.elements[:, :3], axis=1) / np.linalg.norm(original[:, :3], axis=1)
    assert np.ptp(ratio) < 1e-4
    assert 0.94 < ratio.mean() < 1.06


def test_a_view_of_a_picture_shows_the_pixels_of_a_cut() -> None:
    picture = IMAGE[0].points()
    settings = TINY.pretrain.model_copy(update={"colour": 0.0})
    whole = View(picture, np.arange(len(picture), dtype=np.int32))
    for seed in range(4):
        seen = random_picture(whole, settings, np.random.default_rng(seed))
        assert np.array_equal(seen.elements[:, :2], picture[:, :2])
        assert np.allclose(seen.elements[:, 2:], picture[seen.region, 2:])
        columns = picture[seen.region, 0].reshape(64, 96)
        assert np.array_equal(columns, np.broadcast_to(columns[0], columns.shape))
        steps = np.diff(columns[0])
        assert (steps >= 0).all() or (steps <= 0).all()


def test_regions_are_carried_to_the_nearest_point() -> None:
    rng = np.random.default_rng(0)
    here, there = rng.uniform(-3, 3, (200, 3)), rng.uniform(-3, 3, (150, 3))
    region = rng.integers(-1, 9, 200).astype(np.int32)
    found = carried_regions(region, here, there, 0.5)
    distance = np.linalg.norm(there[:, None] - here[None], axis=2)
    expected = np.where(distance.min(axis=1) <= 0.5, region[distance.argmin(axis=1)], -1)
    assert np.array_equal(found, expected)


def test_neighbours_are_near_in_time_and_far_in_space() -> None:
    moving, parked = street(6), street(6, step_m=0.0)
    frames = [moving[k] for k in (0, 1, 2, 4, 5)]
    assert [n.tolist() for n in neighbours(frames, 2, 2.0)] == [[2], [0, 2], [0, 3], [2], [3]]
    assert [n.tolist() for n in neighbours(list(parked)[:2], 2, 1.0)] == [[1], [0]]
    with pytest.raises(DataError, match="none of 1 frames has another"):
        NeighbourPairs([moving[0]], TINY)


def test_a_neighbours_view_has_the_regions_of_the_same_places() -> None:
    pairs = NeighbourPairs(list(SPARSE), TINY)
    first, second = pairs.frames.view(0), pairs.frames.view(2)
    carried = pairs._carried(0, 2, first, second)
    places = [view.elements[:, :3] + [1.5 * frame, 0, 0] for view, frame in ((first, 0), (second, 2))]
    assert (carried >= 0).mean() > 0.6
    for region in np.unique(carried[carried >= 0]):
        here, there = places[0][first.region == region], places[1][carried == region]
        assert (there.min(axis=0) >= here.min(axis=0) - 0.2).all()
        assert (there.max(axis=0) <= here.max(axis=0) + 0.2).all()


def test_regions_in_both_views_are_numbered_through_all_frames() -> None:
    def view(*region: int) -> View:
        return View(np.zeros((len(region), 4), np.float32), np.array(region, np.int32))

    first, second, count = shared_regions(
        [view(0, 0, 1, 1, 2, 2), view(0, 0, -1)], [view(0, 0, 1, 2, 2, 3), view(0, 0, 0)], 2
    )
    assert count == 3
    assert [v.region.tolist() for v in first] == [[0, 0, -1, -1, 1, 1], [2, 2, -1]]
    assert [v.region.tolist() for v in second] == [[0, 0, -1, 1, 1, -1], [2, 2, 2]]


def test_every_frame_comes_once_before_any_comes_again() -> None:
    order, rng = FrameOrder(5), np.random.default_rng(0)
    taken = [index for _ in range(5) for index in order.next(2, rng)]
    assert sorted(taken[:5]) == sorted(taken[5:]) == list(range(5))


# --- encoders --------------------------------------------------------------------------------------------------------


def test_pooled_features_are_means_over_a_regions_elements() -> None:
    rng = np.random.default_rng(0)
    features, of = rng.normal(size=(7, 3)), rng.integers(0, 7, 40)
    region = rng.integers(-1, 4, 40)
    region[region == 2] = 3
    found = pooled(torch.from_numpy(features), torch.from_numpy(of), torch.from_numpy(region), 4).numpy()
    for r in (0, 1, 3):
        assert np.allclose(found[r], features[of[region == r]].mean(axis=0))
    assert not found[2].any()


def test_tokens_of_a_sweep_are_its_voxels() -> None:
    encoder = SparseEncoder(TINY.pretrain).eval()
    views = [SPARSE[0].points(), SPARSE[1].points()]
    tokenised = encoder.tokenised(views)
    features = encoder(tokenised)
    cells = np.concatenate(
        [np.column_stack([np.full(len(v), k), np.floor(v[:, :3] / np.float32(0.5))]) for k, v in enumerate(views)]
    )
    _, expected = np.unique(cells, axis=0, return_inverse=True)
    assert np.array_equal(tokenised.of.numpy(), expected)
    assert features.shape == (expected.max() + 1, encoder.dimensions)


def test_tokens_of_pictures_are_cells_whatever_lies_beside_them() -> None:
    encoder = ImageEncoder(TINY.pretrain).eval()
    small, large = pictures(1, height=20, width=30)[0].points(), IMAGE[0].points()
    with torch.inference_mode():
        alone, both = (encoder.tokenised(views) for views in ([large], [large, small]))
        assert torch.allclose(encoder(both)[: 8 * 12], encoder(alone), atol=1e-5)
    of = both.of.numpy()
    assert np.array_equal(of[: len(large)], large[:, 1] // 8 * 12 + large[:, 0] // 8)
    assert np.array_equal(of[len(large) :], 8 * 12 + small[:, 1] // 8 * 12 + small[:, 0] // 8)


def skip_what_it_cannot(method, scene) -> None:
    if ("sparse" if scene is SPARSE else "image") not in method.kinds:
        pytest.skip(f"{method.name} is for {method.kinds}")
    if method.name == "odct" and scene is IMAGE:
        pytest.skip("odct tracks the sweeps behind pictures, and these have none: see test_odct")


# --- training --------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("scene", [SPARSE, IMAGE], ids=["sparse", "image"])
def test_the_same_frames_and_settings_give_the_same_weights(method, scene, tmp_path: Path) -> None:
    skip_what_it_cannot(method, scene)
    kind = "sparse" if scene is SPARSE else "image"
    losses: list[float] = []
    first = pretrain(list(scene), method, TINY, lambda step, loss: losses.append(loss))
    again = pretrain(list(scene), method, TINY)
    assert len(losses) == 3
    assert weights_of(first.encoder) == weights_of(again.encoder)
    other = pretrain(list(scene), method, TINY.updated({"pretrain": {"seed": 1}}))
    assert weights_of(first.encoder) != weights_of(other.encoder)
    start = build_encoder(kind, TINY.pretrain, TINY.pretrain.seed)
    assert weights_of(first.encoder) != weights_of(start)


@pytest.mark.parametrize(("name", "views"), [("twist", "neighbour"), ("barlow", "augment")])
def test_the_loss_falls(name: str, views: str) -> None:
    config = TINY.updated({"pretrain": {"steps": 15, "learning_rate": 0.02, "views": views}})
    losses: list[float] = []
    trained = pretrain(list(SPARSE), method_named(name), config, lambda step, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert trained.notes == []


def test_twist_tells_of_a_collapse_and_of_a_small_batch() -> None:
    config = TINY.updated({"pretrain": {"steps": 1}, "twist": {"clusters": 512}})
    notes = pretrain(list(SPARSE), method_named("twist"), config).notes
    assert any("regions a step for 512 clusters" in note for note in notes)
    flat = replace(method_named("twist"), head=lambda features, config: Flat(features, config.twist.clusters))
    notes = pretrain(list(SPARSE), flat, TINY).notes
    assert any(note.startswith("collapsed: every region falls into all clusters alike") for note in notes)


class Flat(torch.nn.Module):
    """A head that says the same of every region."""

    def __init__(self, features: int, clusters: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(features, clusters)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return 0 * self.linear(embeddings)


# --- the file --------------------------------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("scene", [SPARSE, IMAGE], ids=["sparse", "image"])
def test_an_encoder_comes_back_from_its_file(method, scene, tmp_path: Path) -> None:
    skip_what_it_cannot(method, scene)
    trained = pretrain(list(scene), method, TINY)
    path = trained.save(tmp_path)
    before = path.read_bytes()
    again = load_pretrained(tmp_path)
    assert (again.method, again.config, again.name) == (method.name, TINY, trained.name)
    assert weights_of(again.encoder) == weights_of(trained.encoder)
    assert weights_of(again.head) == weights_of(trained.head)
    again.save(tmp_path)
    assert path.read_bytes() == before
    assert is_pretrained(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(DataError, match=r"no encoder there; make one with `lidal3d pretrain`"):
        load_pretrained(tmp_path)
    path = tmp_path / ENCODER_FILE
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="not a whole safetensors file"):
        load_pretrained(path)
    save_file({"x": torch.zeros(1)}, str(path))
    with pytest.raises(DataError, match="without a lidal3d header"):
        load_pretrained(path)
    save_file({"x": torch.zeros(1)}, str(path), metadata={"lidal3d": '{"format": 1, "classes": []}'})
    with pytest.raises(DataError, match="an encoder of format 1 is needed"):
        load_pretrained(path)
    assert not is_pretrained(path)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    trained = pretrain(list(SPARSE), method_named("barlow"), TINY)
    trained.config = TINY.updated({"pretrain": {"width": 0.2}})
    trained.save(tmp_path)
    with pytest.raises(DataError, match=r"has shape .* its header needs"):
        load_pretrained(tmp_path)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_bad_input_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"no self-supervised method 'twits'.*did you mean 'twist'"):
        method_named("twits")
    with pytest.raises(DataError, match="no frames to learn from"):
        pretrain([], method_named("twist"), TINY)
    broken = SPARSE[0].points().copy()
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match=r"000001.bin: 1 of \d+ points are not finite"):
        pretrain(list(with_points(SPARSE, 1, broken)), method_named("twist"), TINY)
    empty = with_points(SPARSE, 0, np.empty((0, 4), np.float32))
    with pytest.raises(DataError, match="no two views of 1 frames share two regions"):
        pretrain([empty[0]], method_named("twist"), TINY)
    wild = Config().updated(TINY.model_dump()).updated({"pretrain": {"learning_rate": 1e30, "steps": 20}})
    with pytest.raises(DataError, match=r"the loss of step \d+ is .*; lower pretrain.learning_rate"):
        pretrain(list(SPARSE), method_named("twist"), wild)


# --- two sensors -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lidal3d.sim import SimConfig, write_drive

    folder = tmp_path_factory.mktemp("driven")
    config = SimConfig(frames=2, columns=200, beams=24, camera_width=160, camera_height=64, seed=1)
    return write_drive(config, folder, "semantickitti", "00")


def test_a_pixels_region_is_that_of_the_nearest_point_in_it(driven: Path) -> None:
    frame = open_drive(driven)[0][0]
    points = frame.points()
    image, pixels = picture_with(frame, np.random.default_rng(0))
    region = pixel_regions(image, pixels, View(points, np.arange(len(points), dtype=np.int32)))
    place, depth, seen = visible_pixels(image, points[:, :3])
    column, row = place.astype(np.int64).T
    wanted = np.full(160 * 64, -1)
    for point in np.flatnonzero(seen):
        at = row[point] * 160 + column[point]
        if wanted[at] < 0 or depth[point] < depth[wanted[at]]:
            wanted[at] = point
    assert np.array_equal(region, wanted)
    assert (region >= 0).sum() > 300


@pytest.mark.parametrize("address", ["", "@image_2"])
def test_a_sweep_and_its_picture_are_two_views(driven: Path, address: str) -> None:
    frames = list(open_drive(f"{driven}{address}")[0])
    config = TINY.updated({"pretrain": {"views": "camera", "min_points": 4, "steps": 2}})
    trained = pretrain(frames, method_named("twist"), config)
    assert trained.encoder.kind == ("image" if address else "sparse")
    assert weights_of(pretrain(frames, method_named("twist"), config).encoder) == weights_of(trained.encoder)


def test_without_cameras_there_are_no_camera_views() -> None:
    config = TINY.updated({"pretrain": {"views": "camera"}})
    with pytest.raises(DataError, match=r"scene 00 has no camera images; take pretrain.views"):
        pretrain(list(SPARSE), method_named("twist"), config)
