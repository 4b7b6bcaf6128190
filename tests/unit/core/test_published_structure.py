"""The structure that speeds are compared with computes what the encoder computes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from model.encoder import Encoder, build_encoder
from model.spec import EncoderSpec

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from published_structure import published_structure

SPEC = EncoderSpec(dim=16, depth=2, heads=2)


@pytest.fixture
def encoder() -> Encoder:
    return build_encoder(SPEC, seed=1)


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(3, 457, 100, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def mask() -> torch.Tensor:
    return torch.rand(3, 9, 5, generator=torch.Generator().manual_seed(3)) < 0.3


@pytest.mark.parametrize("masked", [False, True])
def test_equal_weights_give_equal_tokens(encoder, x, mask, masked):
    encoder.eval()
    chosen = mask if masked else None
    with torch.inference_mode():
        found = published_structure(encoder)(x, chosen)
        torch.testing.assert_close(found, encoder(x, chosen), rtol=1e-5, atol=1e-5)


def test_equal_weights_give_equal_gradients_in_training(encoder, x, mask):
    structure = published_structure(encoder)
    assert structure.training
    weights = torch.randn(3, 46, 16, generator=torch.Generator().manual_seed(4))
    for network in (encoder, structure):
        (network(x, mask) * weights).sum().backward()
    expected = {name: p.grad for name, p in encoder.named_parameters()}
    assert expected.keys() == {name for name, _ in structure.named_parameters()}
    for name, parameter in structure.named_parameters():
        scale = expected[name].abs().max()
        assert (parameter.grad - expected[name]).abs().max() < 1e-4 * scale, name


def test_the_weights_are_a_copy(encoder):
    structure = published_structure(encoder)
    with torch.no_grad():
        structure.cls_token.add_(1)
    assert not torch.equal(structure.cls_token, encoder.cls_token)
