"""The tokenizer against its definition, written out sample by sample."""

from __future__ import annotations

import json
from dataclasses import replace

import builders
import numpy as np
import pytest
import torch

from model.checkpoint import load_encoder
from model.encoder import Encoder, build_encoder
from model.errors import CheckpointError, ConfigError
from model.partition.named import partition
from model.spec import EncoderSpec
from model.tokenizer import DenseConv, DepthwiseConv, NetworkTokenizer, Pool, StructuredConv

SPEC = EncoderSpec(dim=16, depth=1, heads=2)


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


def kernel_by_hand(conv: StructuredConv, head: int, parcel: int) -> np.ndarray:
    """4 + 4 + 8 samples, weights 4, 2, 1, divided by the norm at construction."""
    a, b, c = (k[head, parcel].detach().numpy().astype(float) for k in conv.kernels)
    kernel = np.concatenate([4 * a, 2 * b, np.repeat(c, 2)])
    return kernel / conv.kernel_norm[head, parcel].item()


def test_structured_convolution_is_the_written_out_sum():
    conv = StructuredConv(3, 8, SPEC)
    x = torch.randn(2, 3, 20)
    heads = conv.skip.shape[0]
    filtered = np.zeros((2, 20, 3, heads))
    for parcel in range(3):
        for head in range(heads):
            kernel = kernel_by_hand(conv, head, parcel)
            skip = conv.skip[head, parcel].item()
            for b in range(2):
                signal = x[b, parcel].numpy().astype(float)
                # Seven zeros before, eight after: sample t meets t-7 .. t+8, kernel reversed.
                full = np.convolve(signal, kernel)[8 : 8 + 20]
                filtered[b, :, parcel, head] = full + skip * signal
    weight, bias = (p.detach().numpy() for p in conv.projection.parameters())
    expected = filtered.reshape(2, 20, -1) @ weight.T + bias
    np.testing.assert_allclose(conv(x).detach(), expected, atol=1e-5)


@pytest.mark.parametrize("length", [3, 4, 7])
def test_dense_convolution_is_the_written_out_sum(length):
    """Zeros beyond the ends: (length - 1) // 2 samples before, the rest after."""
    conv = DenseConv(3, 8, length)
    x = torch.randn(2, 3, 20)
    weight, bias = (p.detach().numpy().astype(float) for p in (conv.weight, conv.bias))
    expected = np.zeros((2, 20, 8)) + bias
    for t in range(20):
        for k in range(length):
            sample = t + k - (length - 1) // 2
            if 0 <= sample < 20:
                expected[:, t] += x[:, :, sample].numpy() @ weight[:, :, k].T
    np.testing.assert_allclose(conv(x).detach(), expected, atol=1e-5)


def test_dense_convolution_of_no_patches_is_none():
    assert DenseConv(3, 8, 3)(torch.zeros(0, 3, 20)).shape == (0, 20, 8)


def test_a_token_is_the_normed_mean_over_time_of_both_convolutions():
    tokenizer = NetworkTokenizer(5, SPEC)
    x = torch.randn(2, 5, 20)
    both = torch.cat([tokenizer.dense(x), tokenizer.structured(x)], dim=2)
    active = both * 0.5 * (1 + torch.erf(both / 2**0.5))
    mean = active.mean(dim=1)
    spread = ((mean - mean.mean(dim=1, keepdim=True)) ** 2).mean(dim=1, keepdim=True)
    expected = (mean - mean.mean(dim=1, keepdim=True)) / (spread + 1e-5).sqrt()
    torch.testing.assert_close(tokenizer(x), expected, rtol=1e-4, atol=1e-5)


def test_kernels_start_with_norm_one():
    conv = StructuredConv(7, 24, SPEC)
    kernels = np.array([[kernel_by_hand(conv, h, n) for n in range(7)] for h in range(4)])
    np.testing.assert_allclose(np.linalg.norm(kernels, axis=-1), 1, rtol=1e-6)


def test_every_parcel_gets_just_enough_kernels():
    assert StructuredConv(7, 24, SPEC).skip.shape == (4, 7)
    assert StructuredConv(61, 24, SPEC).skip.shape == (1, 61)


def test_kernel_norm_is_kept_when_kernels_are_trained():
    tokenizer = NetworkTokenizer(5, SPEC)
    before = tokenizer.structured.kernel_norm.clone()
    tokenizer(torch.randn(2, 5, 20)).sum().backward()
    torch.optim.SGD(tokenizer.parameters(), lr=1.0).step()
    tokenizer(torch.randn(2, 5, 20))
    assert torch.equal(tokenizer.structured.kernel_norm, before)
    assert "structured.kernel_norm" in tokenizer.state_dict()


def test_every_parameter_of_a_tokenizer_is_used():
    tokenizer = NetworkTokenizer(5, SPEC)
    (tokenizer(torch.randn(2, 5, 20)) * torch.randn(2, SPEC.dim)).sum().backward()
    unused = [k for k, p in tokenizer.named_parameters() if not p.grad.any()]
    assert unused == []


def test_a_token_depends_on_the_order_in_time():
    tokenizer = NetworkTokenizer(5, SPEC)
    x = torch.randn(1, 5, 20)
    assert not torch.allclose(tokenizer(x), tokenizer(x.flip(-1)), atol=1e-3)


# Ablations

FINE = replace(SPEC, groups=partition(["parcels"]))
VARIANTS = {
    "dense 20": replace(SPEC, branches=("dense",), dense_kernel=20),
    "dense": replace(SPEC, branches=("dense",)),
    "structured": replace(SPEC, branches=("structured",)),
    "depthwise": replace(SPEC, branches=("dense", "depthwise")),
    "max": replace(SPEC, pooling="max"),
    "attention": replace(SPEC, pooling="attention"),
    "linear": replace(FINE, branches=("linear",)),
}


def windows(n=2):
    return torch.randn(n, 457, 100, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_has_other_tokens_of_the_same_shape_and_can_be_trained(name):
    encoder = build_encoder(VARIANTS[name], seed=1)
    tokens = encoder(windows())
    assert tokens.shape == (2, 1 + len(encoder.spec.rows) * 5, 16)
    if name != "linear":
        assert not torch.equal(tokens, build_encoder(SPEC, seed=1)(windows()))
    torch.autograd.backward(tokens.square().sum())
    assert all(p.grad is not None for n, p in encoder.named_parameters() if "mask_token" not in n)


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_variant_leaves_out_is_masked_as_ever(name):
    encoder = build_encoder(VARIANTS[name], seed=1).eval()
    mask = torch.zeros(2, len(encoder.spec.rows), 5, dtype=torch.bool)
    mask[0, 3, 2] = True
    with torch.no_grad():
        changed = windows()
        group = encoder.spec.groups[3].parcels
        changed[0, list(group), 40:60] += 5
        assert torch.allclose(encoder(windows(), mask), encoder(changed, mask), atol=1e-5)
        assert not torch.allclose(encoder(windows()), encoder(changed), atol=1e-3)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_saved_told_by_its_card_and_loaded(name, tmp_path):
    encoder = build_encoder(VARIANTS[name], seed=1).eval()
    loaded = load_encoder(builders.make_checkpoint(tmp_path / "x", encoder))
    assert loaded.spec == encoder.spec
    with torch.no_grad():
        torch.testing.assert_close(loaded(windows()), encoder(windows()))


def test_the_published_tokenizer_goes_without_saying_on_a_card(tmp_path):
    folder = builders.make_checkpoint(tmp_path / "x", build_encoder(SPEC, seed=1))
    told = json.loads((folder / "card.json").read_text())["encoder"]
    assert not {"branches", "pooling"} & told.keys()


def test_weights_of_another_variant_are_refused(tmp_path):
    folder = builders.make_checkpoint(tmp_path / "x", build_encoder(VARIANTS["dense"], seed=1))
    card = json.loads((folder / "card.json").read_text())
    card["encoder"]["branches"] = ["dense", "structured"]
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"branches .* .the weights have"):
        load_encoder(folder)


def test_depthwise_convolution_is_the_written_out_sum():
    conv = DepthwiseConv(3, 8, SPEC)
    assert conv.kernels.shape == (3, 3, 16)
    x, kernels = torch.randn(2, 3, 20), conv.kernels.detach().numpy().astype(float)
    filtered = np.zeros((2, 20, 3, 3))
    for parcel in range(3):
        for head in range(3):
            for b in range(2):
                signal = np.pad(x[b, parcel].numpy().astype(float), (7, 8))
                filtered[b, :, parcel, head] = np.correlate(signal, kernels[head, parcel])
    weight, bias = (p.detach().numpy() for p in conv.projection.parameters())
    expected = filtered.reshape(2, 20, -1) @ weight.T + bias
    np.testing.assert_allclose(conv(x).detach(), expected, atol=1e-5)


def test_pools_take_mean_maximum_or_a_weighted_mean():
    features = torch.randn(4, 20, 8)
    assert torch.equal(Pool("mean", 8)(features), features.mean(dim=1))
    assert torch.equal(Pool("max", 8)(features), features.amax(dim=1))
    pool = Pool("attention", 8)
    weighted = pool(features)
    assert (weighted <= features.amax(dim=1)).all()
    assert (weighted >= features.amin(dim=1)).all()
    with torch.no_grad():
        pool.score.weight.zero_()
    torch.testing.assert_close(pool(features), features.mean(dim=1))


def test_the_linear_projection_is_one_for_all_parcels_and_blind_to_the_others():
    encoder = Encoder(VARIANTS["linear"])
    assert len(set(map(id, encoder.tokenizers))) == 1
    x = windows()
    tokens = encoder.tokenize(x)
    changed = x.clone()
    changed[:, 7] += 1
    differs = (encoder.tokenize(changed) != tokens).any(dim=-1).any(dim=0).any(dim=-1)
    assert differs.nonzero().flatten().tolist() == [7]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"branches": ()}, "one or more"),
        ({"branches": ("dense", "dense")}, "each once"),
        ({"branches": ("dense", "structured", "depthwise")}, "divide dim 16"),
        ({"branches": ("linear",)}, "groups of one parcel each, found .* such as Vis"),
        ({"branches": ("dense", "linear"), "groups": FINE.groups}, "alone"),
        ({"branches": ("linear",), "groups": FINE.groups, "pooling": "max"}, "without pooling"),
        ({"pooling": "median"}, "'mean', 'max', 'attention'"),
        ({"branches": ("sparse",)}, "'dense', 'structured', 'depthwise', 'linear'"),
    ],
)
def test_a_tokenizer_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(SPEC, **settings)
