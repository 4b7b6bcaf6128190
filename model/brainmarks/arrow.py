"""Write the parcel series of an output folder as a data set of brainmarks."""

from __future__ import annotations

import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from model.brainmarks.scan_encoder import SPACE
from model.cohort.names import SERIES, SUBJECT
from model.cohort.outputs import OutputsError, embedded_scans
from model.errors import ConfigError, SemantoksError, some
from model.files.write import (
    json_bytes,
    new_folder,
    refuse_occupied,
    scratch_folder,
    write_whole,
)
from model.networks import parcel_names
from model.probing.participants import read_labels
from model.probing.splits import PARTS, draw_split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from model.brainmarks.options import Description, ExportOptions
    from model.cohort.outputs import EmbeddedScan

_LOG = logging.getLogger(__name__)

MAX_CLASSES = 20
CONSTANT = 1e-6
"""brainmarks writes zeros where a standard deviation is no larger."""


def export_brainmarks(output_dir: Path, root: Path, options: ExportOptions) -> dict[str, int]:
    """Write ``NAME.<space>.arrow/{train,validation,test}`` and the map of targets below a root.

    Subjects without a class are left out, and told.

    Returns
    -------
    Number of scans by part.

    Raises
    ------
    OutputsError
        The folder holds no embedded runs, or a run without the series asked for.
    LabelError, SplitError
        There are no classes, or too few subjects of one.
    ConfigError
        The data set exists already, the target is no class, or the package ``datasets`` is absent.
    """
    if not re.fullmatch(r"[\w-]+", options.name):
        raise ConfigError(f"name {options.name!r}: expected letters, digits, - and _.")
    arrow = root / f"{options.name}.{SPACE}.arrow"
    map_path = root / "targets" / f"{options.name}_target_map_{options.target}.json"
    for path in (arrow, map_path):
        refuse_occupied(path)
    runs = embedded_scans(output_dir)
    lacking = [run.name for run in runs if not _series_of(run, options.description).is_file()]
    if lacking:
        raise OutputsError(
            f"{output_dir}: {len(lacking)} of {len(runs)} runs have no "
            f"{SERIES[options.description]}.tsv: {some(lacking)}.",
            hint="--desc model takes what the encoder saw; semantoks series writes no other.",
        )
    subjects = {run.columns[SUBJECT] for run in runs}
    labels = read_labels(
        options.participants,
        options.target,
        task="classification",
        subjects=subjects,
        allow_missing=True,
    )
    if labels.without:
        _LOG.warning("left out, without %s: %s", options.target, ", ".join(labels.without))
    if len(labels.classes) > MAX_CLASSES:
        raise ConfigError(
            f"{options.target} has {len(labels.classes)} different values; expected at most "
            f"{MAX_CLASSES} classes.",
            hint="brainmarks classifies: bin a number into classes in a column of its own.",
        )
    split = draw_split(labels, options.shares, seed=options.seed)
    chosen = {
        part: [run for run in runs if run.columns[SUBJECT] in getattr(split, part)]
        for part in PARTS
    }
    targets = {sub: labels.classes[int(value)] for sub, value in labels.values.items()}
    counts = {part: len(scans) for part, scans in chosen.items()}
    about = {
        "Configuration": runs[0].record.settings,
        "Series": options.description,
        "Target": options.target,
        "Seed": options.seed,
        "SplitSHA256": split.sha256(),
        "Scans": counts,
        "SubjectsWithoutTarget": list(labels.without),
    }
    with new_folder(arrow) as folder:
        for part, scans in chosen.items():
            _save(scans, folder / part, options.description)
        (folder / "semantoks.json").write_bytes(json_bytes(about))
        write_whole({map_path: json_bytes(targets)})
    return counts


def _save(runs: Sequence[EmbeddedScan], folder: Path, description: Description) -> None:
    """Write samples one after the other in the format of ``datasets``."""
    try:
        import datasets
    except ImportError as err:
        raise ConfigError(
            "the package datasets is not installed.", hint="pip install 'datasets>=3'"
        ) from err
    n_parcels = len(parcel_names())
    text, number = datasets.Value("string"), datasets.Value("float32")
    level = datasets.Array2D((1, n_parcels), "float32")
    features = datasets.Features(
        {
            "sub": text,
            "path": text,
            "n_frames": datasets.Value("int32"),
            "tr": number,
            "bold": datasets.Array2D((None, n_parcels), "float16"),
            "mean": level,
            "std": level,
        }
    )
    with scratch_folder(folder.parent) as scratch:
        try:
            made = datasets.Dataset.from_generator(
                partial(_samples, runs, description),
                features=features,
                cache_dir=str(scratch),
                fingerprint=folder.name,
            )
        except datasets.exceptions.DatasetGenerationError as err:
            # A damaged series, found in our generator, arrives wrapped.
            raise err.__cause__ if isinstance(err.__cause__, SemantoksError) else err from None
        made.save_to_disk(folder)


def _series_of(run: EmbeddedScan, description: Description) -> Path:
    return run.file(f"{SERIES[description]}.tsv")


def _samples(runs: Sequence[EmbeddedScan], description: Description) -> Iterator[dict[str, Any]]:
    ending = SERIES[description]
    for run in runs:
        names, values = run.numbers(f"{ending}.tsv")
        if tuple(names) != parcel_names():
            raise OutputsError(f"{run.file(ending)}.tsv: its columns are not the 457 parcels.")
        bold, mean, std = standardize(values)
        yield {
            "sub": run.columns[SUBJECT],
            "path": run.name,
            "n_frames": len(values),
            "tr": run.metadata(f"{ending}.json")["RepetitionTime"],
            "bold": bold,
            "mean": mean,
            "std": std,
        }


def standardize(
    values: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return standard scores (T, P), means and standard deviations (1, P) of a series.

    All three are zero where a parcel is missing, the scores too where it is constant.
    """
    filled = np.where(np.isnan(values), 0.0, values)
    mean, std = filled.mean(axis=0, keepdims=True), filled.std(axis=0, keepdims=True)
    varies = std > CONSTANT
    scores = np.where(varies, filled - mean, 0.0) / np.where(varies, std, 1.0)
    return scores.astype(np.float16), mean.astype(np.float32), std.astype(np.float32)
