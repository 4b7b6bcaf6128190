"""How good scores are. What cannot be told is absent, never a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.probing.samples import ProbeError

if TYPE_CHECKING:
    import numpy.typing as npt

    from model.probing.config import Task

METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("balanced_accuracy", "auc", "accuracy", "f1"),
    "regression": ("r2", "r", "mae"),
}


class UndefinedError(ProbeError):
    """The subjects to be scored do not allow it."""


def measure(
    task: Task,
    scores: npt.NDArray[np.floating],
    targets: npt.NDArray[np.float64],
    *,
    of: str,
) -> dict[str, float]:
    """Compare scores (S, K) with class indices, or predictions (S, 1) with numbers.

    Parameters
    ----------
    of
        What is measured, for messages.

    Returns
    -------
    Values of `METRICS`: balanced accuracy, area under the ROC curve (of more than two classes
    the mean of each against the rest), accuracy, F1 (mean over classes); or R2, Pearson's r,
    mean absolute error. r is absent where predictions do not vary.

    Raises
    ------
    UndefinedError
        A class is absent from the targets, or all numbers are equal.
    ProbeError
        A score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ProbeError(f"{of}: scores are not finite.")
    found, wanted = len(np.unique(targets)), max(2, scores.shape[1])
    if found < wanted:
        raise UndefinedError(
            f"{of}: {found} of at least {wanted} different labels among {len(targets)} samples."
        )
    if task == "regression":
        return _regression(scores[:, 0].astype(float), targets)
    return _classification(scores.astype(float), targets.astype(int))


def _classification(
    scores: npt.NDArray[np.float64], targets: npt.NDArray[np.int_]
) -> dict[str, float]:
    from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

    n_classes = scores.shape[1]
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    # In a two-class problem both curves are the same.
    auc = np.mean([roc_auc_score(targets == k, share[:, k]) for k in range(n_classes)])
    chosen = scores.argmax(axis=1)
    return {
        "balanced_accuracy": float(balanced_accuracy_score(targets, chosen)),
        "auc": float(auc),
        "accuracy": float((chosen == targets).mean()),
        "f1": float(f1_score(targets, chosen, average="macro", zero_division=0)),
    }


def _regression(
    predicted: npt.NDArray[np.float64], targets: npt.NDArray[np.float64]
) -> dict[str, float]:
    spread = ((targets - targets.mean()) ** 2).sum()
    values = {"r2": float(1 - ((targets - predicted) ** 2).sum() / spread)}
    if np.ptp(predicted) > 0:
        values["r"] = float(np.corrcoef(targets, predicted)[0, 1])
    return values | {"mae": float(np.abs(targets - predicted).mean())}
