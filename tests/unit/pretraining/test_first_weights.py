"""Random filters that let no constant through, and what a token shows because of that."""

from __future__ import annotations

import pytest
import torch

from model.encoder import build_encoder
from model.networks import network_columns
from model.pretraining.untrained import pass_no_constant
from model.spec import EncoderSpec

SPEC = EncoderSpec(dim=32, depth=1, heads=2)


@pytest.fixture(scope="module")
def high_pass():
    encoder = build_encoder(SPEC, seed=0)
    pass_no_constant(encoder)
    return encoder.eval()


def test_a_constant_patch_is_filtered_to_nothing(high_pass):
    for tokenizer in high_pass.tokenizers:
        n_parcels = tokenizer.dense.in_channels
        constant = 3 * torch.ones(1, n_parcels, 20)
        dense, structured = tokenizer.dense(constant), tokenizer.structured(constant)
        assert torch.allclose(dense[0, 10], tokenizer.dense.bias, atol=1e-4)
        mean = structured[0].mean(dim=0)  # at the ends of a patch there is less to subtract
        assert torch.allclose(mean, tokenizer.structured.projection.bias, atol=1e-4)


def test_parcels_and_heads_share_their_kernel(high_pass):
    structured = high_pass.tokenizers[8].structured
    taps = structured.taps()
    assert torch.equal(taps, taps[:, :1].expand_as(taps))
    assert (taps < 0).all()
    assert torch.allclose(taps, taps[0, 0, 0].expand_as(taps))
    assert torch.allclose(taps.norm(dim=-1), torch.ones(taps.shape[:2]))


def test_a_token_tells_who_is_correlated_and_hardly_the_sign_of_the_series(high_pass):
    """At the published random weights it is the other way round."""
    columns = network_columns("Default")
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(100) / 100
    phase = 6.3 * torch.rand(400, 457, 8, 1, generator=generator)
    frequency = 2.0 + 2 * torch.arange(8)[:, None]
    series = torch.cos(6.2832 * frequency * time + phase).mean(dim=2)
    together = series.clone()
    together[:, columns[:40]] += 2 * series[:, columns[:1]]

    def contrast(encoder):
        """Effect of correlation over that of sign, both of the network's mean token."""

        def means(x):
            with torch.inference_mode():
                return encoder.tokenize(x)[:, 6].mean(dim=1)

        correlated = (means(together).mean(0) - means(series).mean(0)).norm()
        signed = (means(together) - means(-together)).norm(dim=-1).mean()
        return float(correlated / signed)

    assert contrast(high_pass) > 2 * contrast(build_encoder(SPEC, seed=0).eval())
