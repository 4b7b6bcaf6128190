"""The tokenizer against its definition, written out sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.spec import EncoderSpec
from model.tokenizer import DenseConv, NetworkTokenizer, StructuredConv

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
