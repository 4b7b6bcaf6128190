"""Whichever library multiplies, values and gradients are those of torch's linear map."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import model.linear
from model.encoder import build_encoder
from model.linear import Linear, linear
from model.spec import EncoderSpec

onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch comes without oneDNN"
)


@pytest.fixture(params=[pytest.param(True, marks=onednn), False], ids=["oneDNN", "default"])
def library(request, monkeypatch):
    monkeypatch.setattr(model.linear, "_mkl_is_slow", lambda: request.param)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("shape", [(1, 24), (3, 46, 24), (5, 46, 3, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_the_formula(shape, bias):
    torch.manual_seed(0)
    layer = Linear(24, 32, bias=bias)
    x = torch.randn(shape, requires_grad=True)
    upper = torch.randn(*shape[:-1], 32)
    layer(x).backward(upper)
    exact = [t.detach().double().requires_grad_() for t in (x, *layer.parameters())]
    expected = functional.linear(*exact)
    expected.backward(upper.double())
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-5)
    for found, true in zip((x, *layer.parameters()), exact, strict=True):
        torch.testing.assert_close(found.grad.double(), true.grad, rtol=1e-5, atol=1e-4)


@pytest.mark.usefixtures("library")
def test_strided_input_and_weights_are_taken_as_they_are():
    x, weight = torch.randn(7, 5, 24).transpose(0, 1), torch.randn(24, 32).t()
    torch.testing.assert_close(linear(x, weight, None), x @ weight.t(), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("library")
def test_the_encoder_runs_under_inference_mode_and_bfloat16_autocast():
    encoder = build_encoder(EncoderSpec(dim=16, depth=1, heads=2), seed=0).eval()
    x = torch.randn(2, 457, 100)
    with torch.inference_mode():
        exact = encoder(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = encoder(x).float()
    assert 0 < (rounded - exact).abs().max() < 0.1 * exact.abs().max()


@onednn
def test_both_libraries_give_the_encoder_the_same_tokens(monkeypatch):
    encoder = build_encoder(EncoderSpec(dim=16, depth=2, heads=2), seed=0).eval()
    x = torch.randn(2, 457, 100)
    tokens = []
    for slow in (True, False):
        monkeypatch.setattr(model.linear, "_mkl_is_slow", lambda slow=slow: slow)
        with torch.inference_mode():
            tokens.append(encoder(x))
    torch.testing.assert_close(*tokens, rtol=1e-5, atol=1e-5)
