"""The paper's linear probe: batch normalization and one linear layer, trained by SGD."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.probing.samples import Learned, ProbeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from model.probing.samples import FloatArray, Samples

    Array = npt.NDArray[np.float64]

RATES = (0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""Learning rates of which validation chooses one."""
MOMENTUM = 0.9
BATCHES_PER_EPOCH = 8
"""So that a batch holds about one crop of each scan; larger cohorts take more batches."""
LARGEST_BATCH = 256
WEIGHT_STD = 2e-5


class LinearHead(nn.Module):
    """Batch normalization and one linear layer: features (B, F) to scores (B, K)."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_features)
        self.linear = nn.Linear(n_features, n_outputs)
        nn.init.trunc_normal_(self.linear.weight, std=WEIGHT_STD)
        nn.init.zeros_(self.linear.bias)
        self.n_outputs = n_outputs

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, F) to (B, K)."""
        scores: Tensor = self.linear(self.norm(features))
        return scores


def make_head(n_features: int, n_outputs: int, *, seed: int) -> LinearHead:
    """Build a head; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LinearHead(n_features, n_outputs)


def loss_of(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of (B, K) scores where targets (B,) are indices, else absolute error."""
    if targets.is_floating_point():
        return functional.l1_loss(scores[:, 0], targets)
    return functional.cross_entropy(scores, targets)


def batches(n: int, *, size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Cut a permutation of n samples into equal batches (B,) of at least ``size``, or all.

    No batch is smaller than the others by more than one: a last one of a single sample has no
    variance to normalize by.
    """
    order = torch.randperm(n, generator=generator)
    return torch.tensor_split(order, max(1, n // size))


def train_probe(
    train: Samples,
    targets: Array,
    rates: Sequence[float],
    *,
    n_outputs: int,
    epochs: int,
    seed: int,
) -> list[Learned]:
    """Train one probe per learning rate, all on the same batches; the last epoch is kept.

    Parameters
    ----------
    train
        (S, F) features.
    targets
        (S,) class indices, or standardized numbers if ``n_outputs`` is 1.

    Raises
    ------
    ProbeError
        There is one sample only, or the loss is not finite.

    Notes
    -----
    The gradients are written out, for all rates at once: a step of autograd on so small a layer
    takes thirty times as long as its arithmetic. A test holds them against `LinearHead`.
    """
    if len(targets) < 2:
        raise ProbeError("batch normalization needs at least two training samples, found one.")
    x = np.asarray(train.values, np.float32)
    probes = _Probes(make_head(x.shape[1], n_outputs, seed=seed), rates)
    generator = torch.Generator().manual_seed(seed)
    size = max(2, min(LARGEST_BATCH, len(targets) // BATCHES_PER_EPOCH))
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        for _ in range(epochs):
            for batch in batches(len(targets), size=size, generator=generator):
                probes.step(x[batch.numpy()], targets[batch.numpy()])
    diverged = [rate for rate, good in zip(rates, probes.finite(), strict=True) if not good]
    if diverged:
        raise ProbeError(f"the probe diverged at learning rate {diverged[0]}.")
    seen = frozenset(train.subjects)
    return [Learned(apply=partial(probes.scores, i), seen=seen) for i in range(len(rates))]


class _Probes:
    """Heads that differ in their learning rate, trained side by side.

    (G, F) scale and shift of the batch normalization, (G, K, F) weights, (G, K) biases.
    """

    def __init__(self, head: LinearHead, rates: Sequence[float]) -> None:
        start = (head.norm.weight, head.norm.bias, head.linear.weight, head.linear.bias)
        self._rates = np.asarray(rates, np.float32)
        self._parameters = [
            np.repeat(one.detach().numpy()[None], len(rates), axis=0) for one in start
        ]
        self._velocity = [np.zeros_like(one) for one in self._parameters]
        self._mean = np.zeros(start[0].shape, np.float32)
        self._variance = np.ones(start[0].shape, np.float32)
        self._eps, self._pace = head.norm.eps, float(head.norm.momentum or 0)

    def step(self, x: FloatArray, targets: Array) -> None:
        """Take a step of every head on a batch (B, F) with targets (B,)."""
        mean, variance = x.mean(axis=0), x.var(axis=0)
        normed = (x - mean) / np.sqrt(variance + self._eps)
        self._mean += self._pace * (mean - self._mean)
        self._variance += self._pace * (variance * len(x) / (len(x) - 1) - self._variance)
        scale, shift, weight, _ = self._parameters
        pull = _slope(self._apply(normed), targets)  # (B, G, K)
        through = np.tensordot(pull, normed, (0, 0))  # (G, K, F)
        total = pull.sum(axis=0)  # (G, K)
        gradients = (
            (weight * through).sum(axis=1),
            (weight * total[..., None]).sum(axis=1),
            scale[:, None] * through + total[..., None] * shift[:, None],
            total,
        )
        for parameter, velocity, gradient in zip(
            self._parameters, self._velocity, gradients, strict=True
        ):
            velocity *= MOMENTUM
            velocity += gradient
            parameter -= self._rates.reshape(-1, *[1] * (parameter.ndim - 1)) * velocity

    def scores(self, which: int, values: FloatArray) -> FloatArray:
        """Score samples (S, F) by one head: (S, K)."""
        normed = (values - self._mean) / np.sqrt(self._variance + self._eps)
        return np.asarray(self._apply(normed)[:, which], np.float32)

    def finite(self) -> list[bool]:
        """Tell of each head whether all its numbers are finite."""
        return [
            all(np.isfinite(one[i]).all() for one in self._parameters)
            for i in range(len(self._rates))
        ]

    def _apply(self, normed: FloatArray) -> FloatArray:
        scale, shift, weight, bias = self._parameters
        at_zero = (weight * shift[:, None]).sum(axis=2) + bias
        return np.asarray(np.tensordot(normed, weight * scale[:, None], (1, 2)) + at_zero)


def _slope(scores: FloatArray, targets: Array) -> FloatArray:
    """(B, G, K) gradient of `loss_of` the scores (B, G, K) of each head, averaged over B."""
    if scores.shape[2] == 1:
        signs: FloatArray = np.sign(scores - targets[:, None, None]).astype(np.float32)
        return signs / np.float32(len(targets))
    share: FloatArray = np.exp(scores - scores.max(axis=2, keepdims=True))
    share /= share.sum(axis=2, keepdims=True)
    share[np.arange(len(targets)), :, targets.astype(int)] -= 1
    share /= np.float32(len(targets))
    return share
