"""What changes from step to step, as arrays of one value per step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Schedule = npt.NDArray[np.float64]


def _half_cosine(n_steps: int) -> Schedule:
    """Fall from 1 at step 0 towards 0 at step ``n_steps``."""
    return (1 + np.cos(np.pi * np.arange(n_steps, dtype=np.float64) / max(1, n_steps))) / 2


def learning_rate(n_steps: int, *, peak: float, warmup_steps: int) -> Schedule:
    """Rise linearly to ``peak`` over the warm-up, then fall to 0 along a half cosine."""
    rise = peak * np.arange(1, warmup_steps + 1, dtype=np.float64) / max(1, warmup_steps)
    fall = peak * _half_cosine(n_steps - warmup_steps)
    return np.concatenate([rise, fall])


def weight_decay(n_steps: int, *, first: float, last: float) -> Schedule:
    """Go from ``first`` to ``last`` along a half cosine."""
    return last + (first - last) * _half_cosine(n_steps)


def regularizer_weight(n_steps: int, *, first: float, active_steps: int) -> Schedule:
    """Fall from ``first`` to 0 along a half cosine over the first ``active_steps``, then stay 0.

    With ``active_steps`` beyond the end of training the weight stays at ``first``.
    """
    if active_steps > n_steps:
        return np.full(n_steps, first)
    weight = np.zeros(n_steps)
    weight[:active_steps] = first * _half_cosine(active_steps)
    return weight
