"""What probe and fine-tuning have in common: whose labels, and what the results say of the run."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model.errors import ConfigError
from model.files.write import file_sha256
from model.pretraining.run_folder import git_revision
from model.probing.features import subject_of
from model.probing.participants import (
    LabelError,
    read_labels,
    read_table,
    row_labels,
    sha256_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from model.cohort.outputs import EmbeddedScan
    from model.probing.options import ProtocolConfig
    from model.probing.participants import Labels
    from model.probing.scoring import Row
    from model.probing.splits import Split

NOBODY = "-"
"""In place of a table of people, where rows have the target"""
_LOG = logging.getLogger(__name__)


def labels_of(participants: Path, config: ProtocolConfig, subjects: Collection[str]) -> Labels:
    """Read the labels of subjects from the table of people, and say who has none.

    Raises
    ------
    ConfigError
        There is no such table.
    LabelError
        As `model.probing.participants.read_labels`.
    """
    if str(participants) == NOBODY:
        raise ConfigError(
            "the target is looked for in a table of people, and none is given.",
            hint="Name the table in place of -, or say --target-of rows.",
        )
    lacking = _lacking(participants, config, subjects)
    labels = read_labels(
        participants,
        config.target,
        task=config.task,
        subjects={*subjects} - lacking,
        allow_missing=config.allow_missing,
    )
    return _also_without(_telling(labels), lacking)


def _lacking(
    participants: Path, config: ProtocolConfig, subjects: Collection[str]
) -> frozenset[str]:
    """Return who is left out, without a value in a column beside the target; tell in which."""
    if not config.allow_missing or not config.columns_needed or str(participants) == NOBODY:
        return frozenset()
    found: set[str] = set()
    table = read_table(participants, config.columns_needed)
    known = {*subjects} & table.keys()  # who is not there at all has no target either
    for column in dict.fromkeys(config.columns_needed):
        if gone := sorted(one for one in known if not table[one][column]):
            _LOG.warning("left out, without %s: %s", column, ", ".join(gone))
            found.update(gone)
    if known and found == known:
        raise LabelError(
            f"{participants}: none of the {len(known)} subjects with scans has "
            f"{' and '.join(config.columns_needed)}."
        )
    return frozenset(found)


def _also_without(labels: Labels, more: Collection[str]) -> Labels:
    return replace(labels, without=tuple(sorted({*labels.without, *more})))


def labels_of_rows(
    participants: Path,
    config: ProtocolConfig,
    subjects: Mapping[str, str],
    column: Callable[[], Mapping[str, str]],
    *,
    where: str,
) -> Labels:
    """Read the labels of rows, or of the subjects whose they are, as the question is.

    Parameters
    ----------
    subjects
        Whose each row is, by its name.
    column
        Gives the text of the rows in the target's column; called only if they have it.
    where
        What the rows are of, for messages.

    Raises
    ------
    ConfigError, LabelError
        As `labels_of`, and `model.probing.participants.row_labels`.
    """
    if config.target_of == "people":
        return labels_of(participants, config, subjects.values())
    lacking = _lacking(participants, config, subjects.values())
    left = {row for row, subject in subjects.items() if subject in lacking}
    labels = row_labels(
        {row: text for row, text in column().items() if row not in left},
        subjects,
        config.target,
        task=config.task,
        allow_missing=config.allow_missing,
        where=where,
    )
    return _also_without(_telling(labels), left)


def _telling(labels: Labels) -> Labels:
    if labels.without:
        _LOG.warning("left out, without %s: %s", labels.column, ", ".join(labels.without))
    return labels


def labels_of_runs(
    participants: Path, config: ProtocolConfig, runs: Sequence[EmbeddedScan]
) -> Labels:
    """Read the labels of the scans of an output folder; rows are scans, columns their entities."""

    def column() -> dict[str, str]:
        found = {run.name: run.columns.get(config.target, "") for run in runs}
        if not any(found.values()):
            known = sorted({name for run in runs for name in run.columns})
            raise LabelError(
                f"no scan has a {config.target}.", hint=f"Scans have: {', '.join(known)}."
            )
        return found

    owners = {run.name: subject_of(run) for run in runs}
    return labels_of_rows(participants, config, owners, column, where="the scans")


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
        **_tables_sha256(participants, config),
        "classes": list(labels.classes),
        "n_subjects": len(labels.subjects),
        **({"n_rows": len(labels.values)} if labels.owners else {}),
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
            "scikit-learn": version("scikit-learn"),
        },
    }


def _tables_sha256(participants: Path, config: ProtocolConfig) -> dict[str, str]:
    """Hash the tables that were read beside the data."""
    tables = {} if config.splits is None else {"splits_table_sha256": config.splits}
    if str(participants) != NOBODY and participants.is_file():
        tables["participants_sha256"] = participants
    return {name: file_sha256(path) for name, path in tables.items()}


def _plain(value: Any) -> Any:
    """Write paths out, for JSON."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def row_record(row: Row) -> dict[str, Any]:
    """Return a row for JSON: no key where there is nothing to say, no score unless ok."""
    content = asdict(row) | {"predictions": None}
    return {key: value for key, value in content.items() if value not in (None, "", {})}
