"""First weights that show connectivity: filters that let no constant through.

A token is the average over a patch of GELU of filtered series. GELU is a straight line plus an
even part. The line gives the mean of the patch: slow noise, which at the published random weights
drowns the rest. The even part gives the variance of a random mixture of parcels, and many such
variances sketch the covariance of the parcels, that is their connectivity. Filters without a mean
leave the second only. And a structured filter that all parcels of a network share keeps them in
step; filters of their own hide what parcels have in common. Measured in docs/pretraining.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from model.pretraining.settings import HIGH_PASS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model.encoder import Encoder
    from model.tokenizer import NetworkTokenizer, StructuredConv

DENSE_GAIN = 10.0
"""A difference of neighbouring samples is small, for BOLD is smooth; GELU shows the variance of
what is not."""


def begin(encoder: Encoder, init: str) -> None:
    """Make of random weights, in place, those that ``run.init`` names.

    Nothing is done for ``random``, nor for a checkpoint, which replaces them.
    """
    if init == HIGH_PASS:
        pass_no_constant(encoder)


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
    conv.fix_norm()
    conv.skip.copy_(-conv.taps().sum(dim=-1))
