"""What probe and fine-tuning have in common: whose labels, and what the results say of the run."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
import torch

from model.pretraining.run_folder import git_revision
from model.probing.participants import read_labels, sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.probing.options import ProtocolConfig
    from model.probing.participants import Labels
    from model.probing.scoring import Row
    from model.probing.splits import Split

_LOG = logging.getLogger(__name__)


def labels_of(participants: Path, config: ProtocolConfig, subjects: Sequence[str]) -> Labels:
    """Read the labels of subjects with scans, and say who has none."""
    labels = read_labels(
        participants,
        config.target,
        task=config.task,
        subjects=subjects,
        allow_missing=config.allow_missing,
    )
    if labels.without:
        _LOG.warning("left out, without %s: %s", config.target, ", ".join(labels.without))
    return labels


def provenance(
    data: Path,
    participants: Path,
    config: ProtocolConfig,
    labels: Labels,
    splits: Sequence[Split],
) -> dict[str, Any]:
    """Say what was asked of whom, with which software."""
    return {
        "config": {name: _plain(value) for name, value in asdict(config).items()},
        "data": str(data),
        "participants": str(participants),
        "classes": list(labels.classes),
        "n_subjects": len(labels.subjects),
        "subjects_sha256": sha256_of(labels.subjects),
        "labels_sha256": labels.sha256(),
        "subjects_without_label": list(labels.without),
        "splits": [
            {
                "name": split.name,
                "n_train": len(split.train),
                "n_validation": len(split.validation),
                "n_test": len(split.test),
                "sha256": split.sha256(),
            }
            for split in splits
        ],
        "git_revision": git_revision(),
        "software": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }


def _plain(value: Any) -> Any:
    """Write paths out, for JSON."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def row_record(row: Row) -> dict[str, Any]:
    """Return a row for JSON: no key where there is nothing to say, no score unless ok."""
    content = asdict(row) | {"predictions": None}
    return {key: value for key, value in content.items() if value not in (None, "", {})}
