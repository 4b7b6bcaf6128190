"""Find and read the series that participant level (or semantoks-series) left for the model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from model.errors import SeriesError
from model.networks import parcel_names
from model.probing.participants import some
from model.series import ParcelSeries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

STATUS = "_status.json"
SERIES = "_desc-model_timeseries.tsv"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One embedded run."""

    subject: str
    """``sub-<label>``"""
    name: str
    """File name up to the atlas: all entities of the source"""
    path: Path
    """Series as the encoder takes it"""


def find_scans(folder: Path, *, entities: Sequence[str]) -> tuple[Scan, ...]:
    """Find the embedded runs below an output folder.

    Parameters
    ----------
    entities
        Only runs whose names hold all of these, such as ``task-rest``.

    Raises
    ------
    SeriesError
        There is none, a status is damaged, or runs were made with different settings.
    """
    scans, settings = [], {}
    for path in sorted(folder.glob(f"sub-*/**/*{STATUS}")):
        record = _read_json(path, keys=("Status", "ConfigurationHash"))
        name = path.name.removesuffix(STATUS).partition("_atlas-")[0]
        parts = name.split("_")
        if record["Status"] == "embedded" and set(entities) <= set(parts):
            series = path.with_name(path.name.replace(STATUS, SERIES))
            scans.append(Scan(subject=parts[0], name=name, path=series))
            settings[str(record["ConfigurationHash"]).partition("-")[0]] = name
    if not scans:
        asked = f" with {' and '.join(entities)}" if entities else ""
        raise SeriesError(
            f"{folder}: no embedded run{asked} (sub-*/**/*{STATUS}) found.",
            hint="Name the output folder of the participant level, or a group table.",
        )
    if len(settings) > 1:
        raise SeriesError(
            f"{folder}: runs were made with {len(settings)} different settings, for example "
            f"{some(list(settings.values()))}.",
            hint="Run the participant level once more with one set of options.",
        )
    return tuple(scans)


def load_series(scan: Scan) -> ParcelSeries:
    """Read the (T, P) normalized series of a run.

    Raises
    ------
    SeriesError
        The table or its sidecar is absent or damaged.
    """
    from pyarrow import ArrowInvalid, csv, float32

    names = list(parcel_names())
    meta = _read_json(
        scan.path.with_suffix(".json"), keys=("RepetitionTime", "Normalization", "StartTime")
    )
    try:
        table = csv.read_csv(
            scan.path,
            parse_options=csv.ParseOptions(delimiter="\t"),
            convert_options=csv.ConvertOptions(
                null_values=["n/a"], column_types=dict.fromkeys(names, float32())
            ),
        )
    except (OSError, ArrowInvalid) as err:
        raise SeriesError(f"{scan.path}: not a readable series ({err}).") from err
    if table.column_names != names:
        raise SeriesError(
            f"{scan.path}: columns are not the {len(names)} parcels in the model's order."
        )
    values = np.column_stack([c.to_numpy(zero_copy_only=False) for c in table.columns])
    return ParcelSeries(
        values=values,
        tr_s=meta["RepetitionTime"],
        unit=meta["Normalization"],
        start_s=meta["StartTime"],
    )


def _read_json(path: Path, *, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        absent = [key for key in keys if key not in record]
        if absent:
            raise ValueError(f"no {', '.join(absent)}")
    except (OSError, ValueError, TypeError) as err:
        raise SeriesError(
            f"{path}: damaged or absent ({err}).", hint="Run the participant level again."
        ) from err
    return dict(record)
