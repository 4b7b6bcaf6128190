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

Distance = Literal["cosine", "squared"]
RateOn = Literal["average", "student"]
TokenReduction = Literal["mean", "sum"]
TtrRate = Literal["flattened", "per_network", "per_network_sum"]

CODING_EPS = 0.05
"""Squared precision of the coding rate, as published."""


def cls_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    rate_on: RateOn = "average",
    rate_centred: bool = False,
    rate_weight: float = 1.0,
    distance: Distance = "cosine",
) -> Tensor:
    """Agree across views, and spread over the sphere.

    Parameters
    ----------
    student, teacher
        (V, B, p) projected summary tokens.
    rate_on
        Features whose coding rate is raised: the ``average`` of student and teacher, or the
        ``student`` alone (the paper).
    rate_centred
        Take the mean of the rows out of the coding rate.
    rate_weight
        Of the coding rate; 0: it is not computed, and nothing keeps the features apart.
    distance
        ``cosine``: minus the cosine, mean of both directions. ``squared``: squared Euclidean,
        sum of both (the paper); four times as steep.

    Returns
    -------
    Scalar, about -2.3 at random weights (B = 8, p = 128).
    """
    features = (student + teacher) / 2 if rate_on == "average" else student
    if rate_centred:
        features = features - features.mean(dim=-2, keepdim=True)
    apart = _cross_view(student, teacher, distance)
    if not rate_weight:
        return apart
    m, p = student.shape[-2:]
    gamma = rate_weight * (p + m) / (p * m)
    return apart - gamma * coding_rate(features).mean()


def ttr_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    ttr_rate: TtrRate = "flattened",
    rate_on: RateOn = "average",
    rate_centred: bool = False,
    rate_weight: float = 1.0,
    distance: Distance = "cosine",
) -> Tensor:
    """Regularize in time, guided by the teacher: the same loss on networks averaged over time.

    Parameters
    ----------
    student, teacher
        (V, B, N, p) projections of networks: of the encoder's tokens averaged over patches
        (as published), or averages of projected tokens (the paper).
    ttr_rate
        ``flattened``: one coding rate over the networks of all scans. ``per_network``: one for
        each network, averaged; ``per_network_sum``: the loss summed over networks (the paper).
    rate_on, rate_centred, rate_weight, distance
        As in `cls_loss`.
    """
    if ttr_rate == "flattened":
        rows = (student.flatten(1, 2), teacher.flatten(1, 2))
    else:
        rows = (student.transpose(1, 2), teacher.transpose(1, 2))
    loss = cls_loss(
        *rows,
        rate_on=rate_on,
        rate_centred=rate_centred,
        rate_weight=rate_weight,
        distance=distance,
    )
    return loss * student.shape[2] if ttr_rate == "per_network_sum" else loss


def token_loss(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor,
    *,
    reduction: TokenReduction = "mean",
    distance: Distance = "cosine",
) -> Tensor:
    """Predict the teacher's tokens where the student saw the mask token, within a view.

    Parameters
    ----------
    student, teacher
        (V, B, N, K, p) projected tokens.
    mask
        (V, B, N, K) bool, true where the student's input was masked.
    reduction
        Over a scan's masked tokens: ``mean``, or ``sum`` (the paper).
    distance
        ``cosine``: minus the cosine; ``squared``: squared Euclidean (the paper).

    Returns
    -------
    Scalar: the distance averaged over a scan's masked tokens, then over scans and views.
    A scan without masked tokens counts as 0.
    """
    cosine = (student * teacher).sum(dim=-1)
    apart = -cosine if distance == "cosine" else (student - teacher).square().sum(dim=-1)
    per_scan = (apart * mask).sum(dim=(-2, -1))
    if reduction == "mean":
        per_scan = per_scan / mask.sum(dim=(-2, -1)).clamp(min=1)
    return per_scan.mean()


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
        # Unlike `cholesky` this does not wait for the device to say whether it worked; what is
        # not finite shows in the loss.
        factor = torch.linalg.cholesky_ex(gram).L
    # The determinant is the squared product of the factor's diagonal.
    rate: Tensor = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return rate


def _cross_view(student: Tensor, teacher: Tensor, distance: Distance) -> Tensor:
    """Distance of the student in one view and the teacher in the other; view first."""
    if distance == "cosine":
        return -(student * teacher.flip(0)).sum(dim=-1).mean()
    return 2 * (student - teacher.flip(0)).square().sum(dim=-1).mean()
