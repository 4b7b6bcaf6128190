"""The encoder's contract: shapes, order of the grid, masks, seeds, the published size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import model.encoder
from model.encoder import Encoder, ProjectionHead, build_encoder, sincos
from model.errors import SeriesError
from model.networks import NETWORKS, network_columns
from model.spec import EncoderSpec

SPEC = EncoderSpec(dim=16, depth=2, heads=2)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build_encoder(SPEC, seed=1).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(3, 457, 100, generator=torch.Generator().manual_seed(2))


def no_mask() -> torch.Tensor:
    return torch.zeros(3, 9, 5, dtype=torch.bool)


def test_tokens_are_a_summary_and_a_grid(encoder, x):
    tokens = encoder(x)
    assert tokens.shape == (3, 1 + 9 * 5, 16)
    assert tokens.dtype == torch.float32


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_s_token_sees_its_parcels_only(encoder, x, network):
    changed = x.clone()
    changed[:, torch.from_numpy(network_columns(network))] += 1
    differs = (encoder.tokenize(changed) - encoder.tokenize(x)).abs().amax(dim=(0, 2, 3)) > 1e-3
    assert [n for n, d in zip(NETWORKS, differs, strict=True) if d] == [network]


@pytest.mark.parametrize("patch", range(5))
def test_nothing_crosses_a_patch_border_before_the_transformer(encoder, x, patch):
    changed = x.clone()
    changed[:, :, 20 * patch : 20 * (patch + 1)] += 1
    differs = (encoder.tokenize(changed) - encoder.tokenize(x)).abs().amax(dim=(0, 1, 3)) > 1e-3
    assert differs.nonzero().flatten().tolist() == [patch]


def test_the_grid_is_network_major(x):
    shallow = build_encoder(replace(SPEC, depth=0), seed=1).eval()
    tokens = shallow(x)
    grid = shallow.norm(
        shallow.tokenize(x) + shallow.positions + shallow.network_embedding[:, None]
    )
    torch.testing.assert_close(tokens[:, 1 + 3 * 5 + 2], grid[:, 3, 2])


def test_a_masked_token_tells_nothing_of_its_data(encoder, x):
    mask = no_mask()
    mask[:, 4, 2] = True
    changed = x.clone()
    changed[:, torch.from_numpy(network_columns(NETWORKS[4])), 40:60] = 7.0
    torch.testing.assert_close(encoder(changed, mask), encoder(x, mask))
    assert not torch.allclose(encoder(changed), encoder(x), atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_tokens_are_those_of_a_device_that_computes_masked_tokens_too(x, share, monkeypatch):
    encoder = build_encoder(SPEC, seed=1)
    mask = torch.rand(3, 9, 5, generator=torch.Generator().manual_seed(3)) < share
    mask[:, 8] = True
    weights = torch.randn(3, 46, 16, generator=torch.Generator().manual_seed(4))
    found = []
    for waits in (True, False):
        monkeypatch.setattr(model.encoder, "_waits", lambda _x, waits=waits: waits)
        encoder.zero_grad()
        tokens = encoder(x, mask)
        (tokens * weights).sum().backward()
        found.append((tokens.detach(), [p.grad for p in encoder.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_summary_alone_is_that_of_all_tokens(x, depth):
    encoder = build_encoder(replace(SPEC, depth=depth, whitened=True), seed=1).eval()
    mask = torch.rand(3, 9, 5, generator=torch.Generator().manual_seed(3)) < 0.3
    alone = encoder(x, mask, summary_only=True)
    torch.testing.assert_close(alone, encoder(x, mask)[:, :1], rtol=1e-5, atol=1e-5)


def test_bfloat16_autocast_rounds_under_inference_mode(encoder, x):
    with torch.inference_mode():
        exact = encoder(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = encoder(x).float()
    assert 0 < (rounded - exact).abs().max() < 0.1 * exact.abs().max()


def test_an_empty_mask_masks_nothing(encoder, x):
    assert torch.equal(encoder(x, no_mask()), encoder(x))


def test_masked_tokens_keep_their_place(encoder, x):
    """All-masked input still has 45 different tokens: positions are added after the mask."""
    tokens = encoder(x, torch.ones(3, 9, 5, dtype=torch.bool))[0, 1:]
    distance = torch.cdist(tokens, tokens) + torch.eye(45)
    assert distance.min() > 1e-3


def test_the_input_is_not_changed(encoder, x):
    mask = no_mask()
    mask[0] = True
    before, mask_before = x.clone(), mask.clone()
    encoder(x, mask)
    assert torch.equal(x, before)
    assert torch.equal(mask, mask_before)


def test_windows_of_a_batch_do_not_touch_one_another(encoder, x):
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(457, 100), (1, 456, 100), (1, 457, 99), (1, 457, 120), (1, 100, 457)]
)
def test_another_shape_is_refused(encoder, shape):
    with pytest.raises(SeriesError, match=r"457 parcels, 100 samples\), found \("):
        encoder(torch.zeros(shape))


def test_integers_are_refused(encoder):
    with pytest.raises(SeriesError, match="int64"):
        encoder(torch.zeros(1, 457, 100, dtype=torch.int64))


@pytest.mark.parametrize(
    "mask",
    [
        torch.zeros(3, 9, 5),
        torch.zeros(3, 5, 9, dtype=torch.bool),
        torch.zeros(3, 45, dtype=torch.bool),
        torch.zeros(1, 9, 5, dtype=torch.bool),
    ],
    ids=["float", "turned", "flat", "not per window"],
)
def test_another_mask_is_refused(encoder, x, mask):
    with pytest.raises(SeriesError, match=r"mask of bool \(3, 9, 5\)"):
        encoder(x, mask)


def test_a_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    first, again, other = (build_encoder(SPEC, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.randn(3), expected)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["cls_token"], other["cls_token"])


def test_every_parameter_is_used(x):
    encoder = build_encoder(SPEC, seed=1)
    mask = no_mask()
    mask[:, :, 2:4] = True
    tokens = encoder(x, mask)
    weights = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0))
    (tokens * weights).sum().backward()
    assert [k for k, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 24},
        {"depth": 1},
        {"heads": 4},
        {"mlp_ratio": 2},
        {"dense_kernel": 5},
        {"sg_kernel": 5},
        {"sg_scales": 2},
        {"layer_scale_init": 0.5},
    ],
)
def test_every_field_of_the_specification_changes_the_tokens(encoder, x, change):
    tokens = build_encoder(replace(SPEC, **change), seed=1)(x)
    assert tokens.shape != encoder(x).shape or not torch.allclose(tokens, encoder(x), atol=1e-4)


def test_patches_of_another_length_and_number(x):
    encoder = build_encoder(replace(SPEC, patch_samples=16, n_patches=6), seed=1)
    assert encoder(x[:, :, :96]).shape == (3, 1 + 9 * 6, 16)


def test_the_published_configuration_has_the_published_number_of_live_parameters():
    with torch.device("meta"):
        encoder = Encoder(EncoderSpec())
    assert sum(p.numel() for p in encoder.parameters()) == 58_720_931
    assert [sum(p.numel() for p in t.parameters()) for t in encoder.tokenizers] == [
        242_095, 243_853, 219_654, 224_379, 187_086, 227_360, 287_771, 218_704, 163_213,
    ]  # fmt: skip


def test_stored_and_live_parameters_differ_by_the_two_copies_and_a_norm():
    with torch.device("meta"):
        encoder = Encoder(EncoderSpec())
        head = ProjectionHead(768, 1024, 128)
    live = sum(p.numel() for p in encoder.parameters())
    copies = 2 * sum(p.numel() for p in encoder.tokenizers.parameters())
    assert live + copies + 2 * 768 == 62_750_697
    # Student and teacher, each an encoder and a head.
    assert sum(p.numel() for p in head.parameters()) == 918_656
    assert 2 * (62_750_697 + 918_656) == 127_338_706


def test_positions_are_sines_then_cosines():
    table = sincos(5, 768)
    at = torch.tensor([3.0], dtype=torch.float64)
    assert table[3, 0].item() == pytest.approx(at.sin().item())
    assert table[3, 384].item() == pytest.approx(at.cos().item())
    slow = 10000 ** (-383 / 384)
    assert table[3, 383].item() == pytest.approx((at * slow).sin().item())


def test_the_head_projects_to_the_sphere():
    head = ProjectionHead(16, 32, 8)
    projected = head(torch.randn(2, 3, 16))
    torch.testing.assert_close(projected.norm(dim=-1), torch.ones(2, 3))
