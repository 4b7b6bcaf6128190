"""First weights whose tokenizers measure connectivity: filters that let no constant through.

A token is the average of GELU over a patch of filtered series. The odd half of GELU makes of
that the series' mean, which at random filters is slow noise of 40 s; the even half makes their
variance. Variances of random mixtures of parcels are a sketch of their covariance, which is
connectivity. So filters that take the mean out let a token show, before any training, what it
shall learn to show; and a structured filter that is the same for all parcels of a network keeps
them in step, where filters of their own scramble what they have in common. Measured in
docs/pretraining.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.encoder import Encoder
    from model.tokenizer import NetworkTokenizer, StructuredConv

DENSE_GAIN = 10.0
"""A difference of neighbouring samples is small, for BOLD is smooth; GELU shows the variance of
what is not."""


@torch.no_grad()
def pass_no_constant(encoder: Encoder) -> None:
    """Turn an encoder's random filters, in place, into random filters without a mean."""
    for tokenizer in cast("Iterable[NetworkTokenizer]", encoder.tokenizers):
        weight = tokenizer.dense.weight
        weight.copy_(DENSE_GAIN * (weight - weight.mean(dim=-1, keepdim=True)))
        _subtract_average(tokenizer.structured)


def _subtract_average(conv: StructuredConv) -> None:
    """Make every head the sample minus a random average of those around it, for all parcels."""
    n_scales = len(conv.kernels)
    for i, kernel in enumerate(conv.kernels):
        # Undoes the weights of the scales: an average has no strong middle.
        average = kernel[:, :1].abs() / 2 ** (n_scales - 1 - i)
        kernel.copy_(-average.expand_as(kernel))
    conv.begin()
    conv.skip.copy_(-conv.taps().sum(dim=-1))
