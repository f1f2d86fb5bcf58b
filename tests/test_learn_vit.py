# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The ViT against torch's own attention with the same weights, its files, tiles, and tokens of pictures and sweeps."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vit_files import tiny_vit

torch = pytest.importorskip("torch", reason='torch is missing; pip install "lidal3d[learn]"')

from safetensors.torch import save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from lidal3d.errors import DataError  # noqa: E402
from lidal3d.learn.encoders import open_encoder  # noqa: E402
from lidal3d.learn.vit import vit_of  # noqa: E402
from lidal3d.learn.vit_file import clean_names, load_vit  # noqa: E402
from lidal3d.learn.vit_tokens import ViTTokens  # noqa: E402
from lidal3d.scene.open import open_drive  # noqa: E402
from lidal3d.scene.pixels import WIDTH, picture_of, read_reduced, reduced_size  # noqa: E402
from lidal3d.scene.projection import visible_pixels  # noqa: E402
from lidal3d.sim import SimConfig, write_drive  # noqa: E402

REAL = Path(os.environ.get("LIDAL3D_REAL_DATA", "/nonexistent"))


def reference(state: dict[str, Tensor], picture: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Features and attention by torch's own layers: unfolded patches, nn.MultiheadAttention, layer by layer."""
    width, depth = state["cls_token"].shape[2], 1 + max(int(n.split(".")[1]) for n in state if n.startswith("blocks."))
    patch, heads = state["patch_embed.proj.weight"].shape[3], width // 64
    registers = state.get("reg_token", torch.zeros(1, 0, width).double())
    pixels = nn.functional.unfold(picture, patch, stride=patch).transpose(1, 2)
    x = pixels @ state["patch_embed.proj.weight"].reshape(width, -1).T + state["patch_embed.proj.bias"]
    embedding = state["pos_embed"] if positions is None else positions
    before = embedding.shape[1] - x.shape[1]
    x = x + embedding[:, before:]
    cls = state["cls_token"] + (embedding[:, :1] if before else 0)
    x = torch.cat([cls.expand(len(x), -1, -1), registers.expand(len(x), -1, -1), x], dim=1)

    def norm(x: Tensor, name: str) -> Tensor:
        return nn.functional.layer_norm(x, (width,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    for block in range(depth):
        name = f"blocks.{block}"
        attention = nn.MultiheadAttention(width, heads, batch_first=True).eval()
        own = {
            "in_proj_weight": state[f"{name}.attn.qkv.weight"],
            "in_proj_bias": state.get(f"{name}.attn.qkv.bias", torch.zeros(3 * width).double()),
            "out_proj.weight": state[f"{name}.attn.proj.weight"],
            "out_proj.bias": state[f"{name}.attn.proj.bias"],
        }
        attention.double().load_state_dict(own)
        y = norm(x, f"{name}.norm1")
        with torch.no_grad():
            mixed, weight = attention(y, y, y, need_weights=True, average_attn_weights=True)
        if block == depth - 1:
            seen = weight[:, 0, 1 + registers.shape[1] :]
            return norm(x, "norm")[:, 1 + registers.shape[1] :], seen / seen.sum(dim=1, keepdim=True)
        x = x + mixed * state.get(f"{name}.ls1.gamma", torch.ones(width))
        y = norm(x, f"{name}.norm2")
        y = nn.functional.gelu(y @ state[f"{name}.mlp.fc1.weight"].T + state[f"{name}.mlp.fc1.bias"])
        y = y @ state[f"{name}.mlp.fc2.weight"].T + state[f"{name}.mlp.fc2.bias"]
        x = x + y * state.get(f"{name}.ls2.gamma", torch.ones(width))
    raise AssertionError


def doubled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """In float64, in which two orders of adding up agree."""
    return {name: tensor.double() for name, tensor in state.items()}


KINDS = {
    "dino": {},
    "timm, two heads": {"width": 128, "depth": 2},
    "dinov2": {"layer_scale": True, "patch_px": 14},
    "dinov2 with registers": {"layer_scale": True, "registers": 4, "patch_px": 14},
    "timm's dinov2 with registers": {"layer_scale": True, "registers": 4, "positions_before": 0},
    "no bias": {"qkv_bias": False},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_features_and_attention_are_those_of_torchs_own_layers(kind):
    state = doubled(tiny_vit(**kind))
    size = 4 * state["patch_embed.proj.weight"].shape[3]
    picture = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        features, attention = vit_of(state, "here").double()(picture)
        expected, seen = reference(state, picture)
    assert features.shape == (2, 16, state["cls_token"].shape[2])
    assert torch.allclose(features, expected, atol=1e-9)
    assert torch.allclose(attention, seen, atol=1e-9)
    assert torch.allclose(attention.sum(dim=1), torch.ones(2).double())
    assert not torch.allclose(features[0, 0], features[0, 1], atol=0.1)


def test_other_sizes_get_interpolated_positions():
    state = doubled(tiny_vit())
    picture = torch.randn(1, 3, 8 * 6, 8 * 9).double()
    square = state["pos_embed"][:, 1:].reshape(1, 4, 4, 64).permute(0, 3, 1, 2)
    turned = nn.functional.interpolate(square, (6, 9), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    positions = torch.cat([state["pos_embed"][:, :1], turned], dim=1)
    with torch.inference_mode():
        features, attention = vit_of(state, "here").double()(picture)
        expected, seen = reference(state, picture, positions)
    assert features.shape == (1, 54, 64)
    assert torch.allclose(features, expected, atol=1e-9)
    assert torch.allclose(attention, seen, atol=1e-9)


# --- files ---------------------------------------------------------------------------------------------------------


def test_the_same_weights_come_out_of_every_kind_of_file(tmp_path):
    state = tiny_vit(registers=2, layer_scale=True)
    mask = {"mask_token": torch.zeros(1, 64), "head.weight": torch.zeros(10, 64)}
    save_file({**state, **mask}, tmp_path / "a.safetensors")
    torch.save({**state, **mask}, tmp_path / "b.pth")
    own = {("register_tokens" if name == "reg_token" else name): tensor for name, tensor in state.items()}
    teacher = {f"module.backbone.{name}": tensor for name, tensor in own.items()}
    torch.save({"epoch": 3, "student": {}, "teacher": teacher}, tmp_path / "c.pt")
    torch.save({"state_dict": {f"module.{name}": t.half() for name, t in state.items()}}, tmp_path / "d.bin")
    picture = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        results = [load_vit(tmp_path / name)(picture)[0] for name in ("a.safetensors", "b.pth", "c.pt", "d.bin")]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert torch.allclose(results[0], results[3], atol=0.02)


class Harmful:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_another_file_is_refused_in_one_line(tmp_path, capsys):
    state = tiny_vit()
    lacking = {name: tensor for name, tensor in state.items() if name != "blocks.1.mlp.fc2.weight"}
    nan = {**state, "norm.bias": torch.full((64,), torch.nan)}
    cases = [
        (lacking, r"lacks 'blocks.1.mlp.fc2.weight' of shape \(64, 128\); give the weights of a whole ViT"),
        ({**state, "norm.weight": torch.ones(65)}, r"'norm.weight' has shape \(65,\), \(64,\) fits the other tensors"),
        (
            {**state, "blocks.2.attn.qkv.weight": torch.ones(192, 32)},
            r"'blocks.2.attn.qkv.weight' has shape \(192, 32\), \(192, 64\) fits",
        ),
        ({**state, "pos_embed": torch.ones(1, 20, 64)}, "'pos_embed' has 20 positions, a square number"),
        ({**state, "norm_pre.weight": torch.ones(64)}, "has 'norm_pre.weight', which a plain ViT doesn't"),
        ({**state, "patch_embed.proj.weight": torch.ones(64, 3)}, "'patch_embed.proj.weight' has shape .*4 dimensions"),
        ({"layer1.0.conv1.weight": torch.ones(3)}, "lacks 'patch_embed.proj.weight'"),
        ({name: t for name, t in state.items() if ".0." not in name}, "has blocks 1, 2, 2 or more from 0 on"),
        (tiny_vit(width=96), "96 features a token, which is no whole number of heads of 64"),
        (nan, "'norm.bias' has numbers that are not finite"),
        ({}, "holds no tensors"),
    ]
    for place, (broken, words) in enumerate(cases):
        path = tmp_path / f"{place}.pth"
        torch.save(broken, path)
        with pytest.raises(DataError, match=words) as caught:
            open_encoder(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)
    (tmp_path / "half.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")
    (tmp_path / "half.pth").write_bytes(b"PK\x03\x04 nothing")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Harmful()))
    torch.save([1, 2], tmp_path / "list.pth")
    for name, words in {
        "half.safetensors": "not a whole weights file",
        "half.pth": "not a whole weights file|not tensors alone",
        "evil.pth": "not tensors alone",
        "list.pth": "holds a list",
        "missing.pth": "no such file",
        "missing.safetensors": "no such file",
    }.items():
        with pytest.raises(DataError, match=words) as caught:
            open_encoder(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "must never run" not in capsys.readouterr().out
    assert set(clean_names({"model": {"encoder.norm.bias": torch.ones(1)}}, "x")) == {"norm.bias"}


# --- tokens --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("vit") / "vit.safetensors"
    save_file(tiny_vit(), path)
    return path


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drive")
    config = SimConfig(frames=2, beams=16, columns=360, camera_width=200, camera_height=60, seed=4)
    write_drive(config, folder, "semantickitti", "00")
    return folder


def test_a_small_picture_is_one_tile(weights):
    encoder = ViTTokens(weights)
    picture = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)
    features, attention, group, of = encoder.of_picture(picture)
    normalised = (picture - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    inputs = torch.tensor(normalised.transpose(2, 0, 1)[None], dtype=torch.float64)
    expected, seen = reference(doubled(tiny_vit()), inputs)
    assert np.allclose(features, expected[0], atol=1e-3)
    assert np.allclose(attention, seen[0], atol=1e-4)
    assert (group == 0).all()
    assert (of == (np.arange(32)[:, None] // 8 * 4 + np.arange(32) // 8)).all()


def test_a_wide_picture_is_cut_into_tiles_that_know_nothing_of_each_other(weights):
    encoder, picture = ViTTokens(weights), np.random.default_rng(0).random((270, 480, 3)).astype(np.float32)
    features, attention, group, of = encoder.of_picture(picture)
    assert of.shape == (270, 480)
    assert np.array_equal(np.unique(of), np.arange(len(features)))
    assert np.bincount(group, attention).tolist() == pytest.approx([1, 1])
    # Pixels of a patch lie together, left tile and right tile apart.
    left = group[of[:, :240]] == 0
    assert left.all()
    assert (group[of[:, 240:]] == 1).all()
    changed = picture.copy()
    changed[:, 300:] = 0
    again = encoder.of_picture(changed)[0]
    assert np.array_equal(again[group == 0], features[group == 0])
    assert not np.allclose(again[group == 1], features[group == 1])


@pytest.mark.parametrize(("cut", "patches"), [("tiles", 2 * 34 * 30), ("whole", 34 * 60), ("squash", 16)])
def test_three_ways_to_show_a_picture(weights, cut, patches):
    encoder = ViTTokens(weights, cut=cut)
    features, attention, group, of = encoder.of_picture(np.zeros((270, 480, 3), np.float32))
    assert len(features) == len(attention) == len(group) == patches
    assert of.max() == patches - 1
    assert encoder.fingerprint.endswith(cut)
    # It comes out of a pickle as it was, its weights aside.
    assert pickle.loads(pickle.dumps(encoder)).fingerprint == encoder.fingerprint


def test_pixels_take_the_patch_that_they_lie_in(weights, drive):
    (scene,) = open_drive(f"{drive}@image_2:100")
    points, encoder = scene[0].points(), open_encoder(weights)
    tokens = encoder.tokens(scene[0], points)
    features, attention, group, of = encoder.of_picture(picture_of(points))
    assert np.array_equal(tokens.of.reshape(30, 100), of)
    assert np.array_equal(tokens.features, features)
    assert np.array_equal(tokens.saliency, attention)
    assert np.array_equal(tokens.group, group)


def test_points_take_the_patch_that_they_are_seen_in(weights, drive):
    (scene,), encoder = open_drive(drive), open_encoder(weights)
    frame = scene[0]
    points = frame.points()
    tokens = encoder.tokens(frame, points)
    image = frame.images()[0]
    width, height = reduced_size(image, WIDTH)
    features, attention, _, of = encoder.of_picture(read_reduced(image.path, width, height))
    pixels, _, seen = visible_pixels(image, points[:, :3])
    assert 0 < seen.sum() < len(points)
    assert ((tokens.of >= 0) == seen).all()
    column, row = (pixels[seen] * width / image.width).astype(int).T
    assert np.array_equal(tokens.of[seen], of[np.minimum(row, height - 1), column])
    assert np.array_equal(tokens.features, features)
    assert np.array_equal(tokens.saliency, attention)
    empty = encoder.tokens(frame, points[:0])
    assert empty.features.shape == (0, 64)


def test_a_sweep_without_pictures_is_refused(weights, drive):
    (scene,) = open_drive(drive)

    class Blind:
        def __getattr__(self, name):
            return (lambda index: ()) if name == "images" else getattr(scene.source, name)

    frame = replace(scene, source=Blind())[0]
    with pytest.raises(DataError, match=r"has no pictures and .* is a ViT; give an encoder of `lidal3d pretrain`"):
        open_encoder(weights).tokens(frame, scene[0].points())


@pytest.mark.skipif(not REAL.is_dir(), reason="LIDAL3D_REAL_DATA names no folder with the real samples")
@pytest.mark.parametrize(("sample", "least", "most"), [("semantickitti", 0.1, 0.25), ("pandaset", 0.05, 0.25)])
def test_points_of_real_sweeps_have_patches_where_cameras_look(weights, sample, least, most):
    frame = open_drive(REAL / sample)[0][0]
    points = frame.points()
    tokens = open_encoder(weights).tokens(frame, points)
    assert least < (tokens.of >= 0).mean() < most
    assert np.bincount(tokens.group, tokens.saliency) == pytest.approx(1, abs=1e-4)
