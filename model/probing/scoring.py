"""One method on one split: fit on training, choose on validation, score test subjects once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.probing.samples import Learned, ProbeError, UndefinedError, average

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from model.probing.methods import Method
    from model.probing.options import RegressBy, Task
    from model.probing.participants import Labels
    from model.probing.samples import Samples
    from model.probing.splits import Split


METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("balanced_accuracy", "auc", "accuracy", "f1"),
    "regression": ("r2", "r", "mae"),
}


_LOG = logging.getLogger(__name__)


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
    _refuse_undefined(scores, targets, of=of)
    if task == "regression":
        return _regression(scores[:, 0].astype(float), targets)
    return _classification(scores.astype(float), targets.astype(int))


def merit(
    task: Task,
    scores: npt.NDArray[np.floating],
    targets: npt.NDArray[np.float64],
    *,
    of: str,
    regress_by: RegressBy = "r2",
) -> float:
    """Return what settings are chosen by, of validation scores (S, K); larger is better.

    Balanced accuracy; of numbers R², or the mean absolute error with a minus before it.

    Raises
    ------
    UndefinedError, ProbeError
        As `measure`.
    """
    _refuse_undefined(scores, targets, of=of)
    if task == "regression":
        found = _regression(scores[:, 0].astype(float), targets)
        return -found["mae"] if regress_by == "mae" else found["r2"]
    chosen = scores.argmax(axis=1)
    return float(np.mean([(chosen[targets == k] == k).mean() for k in np.unique(targets)]))


def _refuse_undefined(
    scores: npt.NDArray[np.floating], targets: npt.NDArray[np.float64], *, of: str
) -> None:
    if not np.isfinite(scores).all():
        raise ProbeError(f"{of}: scores are not finite.")
    found, wanted = len(np.unique(targets)), max(2, scores.shape[1])
    if found < wanted:
        raise UndefinedError(
            f"{of}: {found} of at least {wanted} different labels among {len(targets)} samples."
        )


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """How one method did on one split."""

    method: str
    split: str
    status: Literal["ok", "skipped", "failed"]
    reason: str = ""
    setting: float | None = None
    validation: float | None = None
    """`merit` of the chosen setting on the validation samples."""
    scores: dict[str, float] = field(default_factory=dict)
    """By metric; empty unless ok."""
    predictions: dict[str, list[float]] = field(default_factory=dict)
    """Score of each class, or the predicted number, by test subject or row."""


def evaluate(method: Method, labels: Labels, split: Split) -> Row:
    """Fit, choose and score; what fails becomes a row that says why and has no scores.

    Raises
    ------
    LeakError
        A test or validation subject had a part in what scores him.
    """
    try:
        return _evaluate(method, labels, split)
    except UndefinedError as err:
        return Row(method=method.name, split=split.name, status="skipped", reason=err.message)
    except (ProbeError, ArithmeticError, np.linalg.LinAlgError) as err:
        _LOG.warning("%s, %s failed: %s", method.name, split.name, err)
        return Row(method=method.name, split=split.name, status="failed", reason=str(err))


def _evaluate(method: Method, labels: Labels, split: Split) -> Row:
    train = method.samples.of(split.train)
    transforms: list[Learned] = []
    for learn in method.prepare:
        transforms.append(learn(train))
        train = train.with_values(transforms[-1].on(train))
    offset, spread = target_scale(labels, split)
    targets = (labels.of(train.keys(labels)) - offset) / spread
    validation = _transformed(method.samples.of(split.validation), transforms)
    known = labels.of(validation.keys(labels))
    found: list[tuple[float, float, Learned]] = []
    models = method.fit(train, targets, method.settings)
    for setting, model in zip(method.settings, models, strict=True):
        scores = model.on_held_out(validation) * spread + offset
        value = merit(labels.task, scores, known, of="validation", regress_by=method.regress_by)
        found.append((value, setting, model))
    best, setting, model = max(found, key=lambda entry: entry[0])
    chosen = replace(model, seen=model.seen | frozenset(split.validation))
    test = _transformed(method.samples.of(split.test), transforms)
    predicted = by_key(chosen.on_held_out(test) * spread + offset, test.keys(labels))
    return Row(
        method=method.name,
        split=split.name,
        status="ok",
        setting=setting,
        validation=best,
        scores=measure_keys(predicted, labels, of="test"),
        predictions=predicted,
    )


def _transformed(samples: Samples, transforms: Sequence[Learned]) -> Samples:
    for transform in transforms:
        samples = samples.with_values(transform.on_held_out(samples))
    return samples


def target_scale(labels: Labels, split: Split) -> tuple[float, float]:
    """Return mean and spread of the training subjects' numbers; 0 and 1 of classes."""
    if labels.classes:
        return 0.0, 1.0
    values = np.array(list(labels.held_by(split.train).values()))
    if np.ptp(values) == 0:
        raise UndefinedError(f"all {len(values)} training labels are the same number.")
    return float(values.mean()), float(values.std())


def by_key(scores: npt.NDArray[np.floating], keys: Sequence[str]) -> dict[str, list[float]]:
    """Average the scores (S, K) of each subject's, or row's, samples."""
    means = average(scores, keys)
    return dict(zip(dict.fromkeys(keys), means.tolist(), strict=True))


def measure_keys(
    predicted: dict[str, list[float]], labels: Labels, *, of: str
) -> dict[str, float]:
    """Measure the scores of subjects, or rows."""
    targets = labels.of(tuple(predicted))
    return measure(labels.task, np.array(list(predicted.values())), targets, of=of)
