"""The teacher: a copy of the student that follows it slowly and is what is kept."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from torch import nn

_Module = TypeVar("_Module", bound="nn.Module")


def make_teacher(student: _Module) -> _Module:
    """Copy an encoder or a head; the copy has no gradients."""
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(requires_grad=False)
    return teacher


def momentum_at(step: int, *, n_steps: int, base: float) -> float:
    """Return the teacher's momentum, from ``base`` at step 0 along a cosine to 1."""
    return 1 - (1 - base) * (math.cos(math.pi * step / n_steps) + 1) / 2


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, *, momentum: float) -> None:
    """Move the teacher's parameters towards the student's: ``t <- m t + (1 - m) s``, in place.

    Buffers stay: the norm of the structured kernels is fixed at construction, and a teacher
    made by `make_teacher` has the student's.
    """
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    for kept, followed in pairs:
        kept.lerp_(followed, 1 - momentum)
