"""Signs of collapse: how many directions the teacher's features use, and how far they spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from model.pretraining.learner import Projections


@torch.no_grad()
def indicators(teacher: Projections) -> dict[str, Tensor]:
    """Measure the teacher on one batch.

    Returns
    -------
    ``rankme_cls`` and ``rankme_networks``: effective rank of the summary tokens (2 B rows) and
    of the networks' means (18 B rows), not projected; 1 is collapse, the smaller of rows and
    dimension the most there can be. ``teacher_std``: spread of the projected summaries over the
    batch; 0 is collapse, 1 is even on the sphere.
    """
    assert teacher.features is not None, "asked for with them"  # noqa: S101 - our guarantee
    summary, networks = teacher.features[:, :, 0], teacher.features[:, :, 1:]
    projected = teacher.summary.flatten(0, 1)
    return {
        "rankme_cls": rankme(summary.flatten(0, 1)),
        "rankme_networks": rankme(networks.flatten(0, 2)),
        "teacher_std": projected.std(dim=0).square().sum().sqrt(),
    }


def rankme(rows: Tensor) -> Tensor:
    """Return the effective rank of (R, D) rows, the exponential of their spectrum's entropy.

    Notes
    -----
    Garrido et al. 2023, arXiv 2210.02885; by the eigenvalues of the smaller Gram matrix.
    """
    rows = rows.double()
    gram = rows.T @ rows if rows.shape[0] > rows.shape[1] else rows @ rows.T
    if not gram.isfinite().all():  # the decomposition would raise
        return torch.full((), torch.nan, device=rows.device)
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = values / values.sum()
    rank: Tensor = torch.special.entr(share).sum().exp()
    return rank
