"""The paper's linear probe: batch normalization and one linear layer, trained by SGD."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.probing.samples import Learned, ProbeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from model.probing.samples import FloatArray, Samples

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
    targets: npt.NDArray[np.float64],
    rate: float,
    *,
    n_outputs: int,
    epochs: int,
    seed: int,
) -> Learned:
    """Train the probe at one learning rate; the last epoch is kept.

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
    """
    if len(targets) < 2:
        raise ProbeError("batch normalization needs at least two training samples, found one.")
    x = torch.from_numpy(train.values)
    y = torch.from_numpy(targets).float() if n_outputs == 1 else torch.from_numpy(targets).long()
    head = make_head(x.shape[1], n_outputs, seed=seed)
    optimizer = torch.optim.SGD(head.parameters(), lr=rate, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(seed)
    size = max(2, min(LARGEST_BATCH, len(y) // BATCHES_PER_EPOCH))
    for _ in range(epochs):
        for batch in batches(len(y), size=size, generator=generator):
            loss = loss_of(head(x[batch]), y[batch])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    if not all(p.isfinite().all() for p in head.parameters()):
        raise ProbeError(f"the probe diverged at learning rate {rate}.")
    head.eval()

    @torch.inference_mode()
    def apply(values: FloatArray) -> FloatArray:
        scores: FloatArray = head(torch.from_numpy(values)).numpy()
        return scores

    return Learned(apply=apply, seen=frozenset(train.subjects))
