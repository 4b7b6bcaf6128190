"""The three losses of self-distillation, as the published training computes them.

Pure functions of unit vectors. Where the paper (arXiv 2512.11582) and the published code
differ, the code is the default and the paper's variant an option. Axes beside those of
`model`: ``V`` = 2 views of a scan, ``B`` scans of a batch, ``p`` channels of the projection.
On the unit sphere a squared distance is ``2 - 2 cos``: agreement is measured by the cosine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

RateOn = Literal["average", "student"]
TtrRate = Literal["flattened", "per_network"]

CODING_EPS = 0.05
"""Squared precision of the coding rate, as published."""


def cls_loss(student: Tensor, teacher: Tensor, *, rate_on: RateOn = "average") -> Tensor:
    """Agree across views, and spread over the sphere.

    Parameters
    ----------
    student, teacher
        (V, B, p) projected summary tokens.
    rate_on
        Features whose coding rate is raised: the ``average`` of student and teacher, or the
        ``student`` alone (the paper).

    Returns
    -------
    Scalar, about -2.3 at random weights (B = 8, p = 128).
    """
    features = (student + teacher) / 2 if rate_on == "average" else student
    m, p = student.shape[-2:]
    gamma = (p + m) / (p * m)
    return -_cross_view_cosine(student, teacher) - gamma * coding_rate(features).mean()


def ttr_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    ttr_rate: TtrRate = "flattened",
    rate_on: RateOn = "average",
) -> Tensor:
    """Regularize in time, guided by the teacher: the same loss on networks averaged over time.

    Parameters
    ----------
    student, teacher
        (V, B, N, p) projections of the encoder's tokens, averaged over patches *before* they
        were projected.
    ttr_rate
        ``flattened``: one coding rate over the networks of all scans. ``per_network``: one for
        each network, averaged (the paper sums over networks both terms of its loss).
    rate_on
        As in `cls_loss`.
    """
    if ttr_rate == "flattened":
        return cls_loss(student.flatten(1, 2), teacher.flatten(1, 2), rate_on=rate_on)
    return cls_loss(student.transpose(1, 2), teacher.transpose(1, 2), rate_on=rate_on)


def token_loss(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Predict the teacher's tokens where the student saw the mask token, within a view.

    Parameters
    ----------
    student, teacher
        (V, B, N, K, p) projected tokens.
    mask
        (V, B, N, K) bool, true where the student's input was masked.

    Returns
    -------
    Scalar: minus the cosine, averaged over a scan's masked tokens, then over scans and views.
    A scan without masked tokens counts as 0.
    """
    cosine = (student * teacher).sum(dim=-1)
    n_masked = mask.sum(dim=(-2, -1)).clamp(min=1)
    return -((cosine * mask).sum(dim=(-2, -1)) / n_masked).mean()


def coding_rate(features: Tensor, *, eps: float = CODING_EPS) -> Tensor:
    """Return ``1/2 logdet(I + p / (m eps) F^T F)``: how much room the features take.

    Parameters
    ----------
    features
        (..., m, p) rows; their second moment is not centred.
    eps
        Squared precision.

    Returns
    -------
    (...) rates in nats, in float32 whatever the autocast: half precision has no room for a
    determinant.
    """
    m, p = features.shape[-2:]
    with torch.autocast(features.device.type, enabled=False):
        features = features.float()
        gram = torch.eye(p, device=features.device) + p / (m * eps) * features.mT @ features
        factor = torch.linalg.cholesky(gram)
    # The determinant is the squared product of the factor's diagonal.
    rate: Tensor = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return rate


def _cross_view_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean cosine of the student in one view and the teacher in the other; view first."""
    return (student * teacher.flip(0)).sum(dim=-1).mean()
