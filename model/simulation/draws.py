"""Where randomness comes from: a generator for each purpose, all of a run's from its one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

CPU = torch.device("cpu")

POOL, PIECE, HELD_OUT = 1, 2, 3
"""First number of a generator's key where a step's own generator is not meant: subjects that come
round again, one piece of a batch, and the batch of subjects that are not trained on."""
ORDER, SUBSET = 1, 4
"""The same for the order of a cohort's subjects (a run has a cohort or a pool, never both), and
for which of them are used where not all are."""


def generator_of(
    numbers: Sequence[int], key: tuple[int, ...] = (), *, device: torch.device = CPU
) -> torch.Generator:
    """Give the generator that some numbers, such as seed and step, and a key name together."""
    state = np.random.SeedSequence(numbers, spawn_key=key).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]) >> 1)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Draw one number."""
    draw = torch.rand((), generator=generator, device=generator.device)
    return low + (high - low) * float(draw)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw an array (*shape) from the unit normal, on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)
