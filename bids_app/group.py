"""Group level: one table of all scans' embeddings, from participant outputs only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from bids_app.atomic import json_bytes, table_bytes, write_all
from bids_app.embedding_files import embedding_columns
from bids_app.errors import InputError, NothingSelectedError, OptionsError
from bids_app.status import read_statuses

if TYPE_CHECKING:
    from pathlib import Path

_ID_COLUMNS = {"sub": "participant_id", "ses": "session_id", "task": "task_id", "run": "run_id"}
_MIXTURE_EXAMPLES = 3


def export_group(output_dir: Path) -> list[Path]:
    """Write the cohort's scan embeddings and the status of every run.

    Parameters
    ----------
    output_dir
        Folder that participant level wrote; images are not needed any more.

    Returns
    -------
    ``group_desc-scan_embedding.{tsv,parquet,json}`` and ``group_status.{tsv,json}``.

    Raises
    ------
    InputError
        The folder holds no participant outputs, or damaged ones.
    OptionsError
        Runs were made with different settings, atlas or checkpoint; names examples of each.
    NothingSelectedError
        No run was embedded.
    """
    records = list(read_statuses(output_dir)) if output_dir.is_dir() else []
    if not records:
        raise InputError(
            f"{output_dir}: no participant outputs (sub-*/**/*_status.json) found.",
            hint="Run the participant level first, with the same output folder.",
        )
    _refuse_mixtures(records)
    status = pd.DataFrame([_status_row(record) for _, record in records])
    status = status[_ordered(list(status.columns))]
    status_files = {
        output_dir / "group_status.tsv": table_bytes(status),
        output_dir / "group_status.json": json_bytes(_STATUS_COLUMNS),
    }
    embedded = [(path, record) for path, record in records if record["Status"] == "embedded"]
    if not embedded:
        table_path, _ = write_all(status_files)
        raise NothingSelectedError(
            f"{output_dir}: none of {len(records)} runs was embedded.",
            hint=f"{table_path} gives the reason for each.",
        )
    table = pd.concat([_embedding_row(path, record) for path, record in embedded])
    keys = [column for column in status.columns if column in table.columns]
    table = table[keys + [column for column in table.columns if column not in keys]]
    stem = output_dir / "group_desc-scan_embedding"
    return write_all(
        {
            stem.with_suffix(".tsv"): table_bytes(table),
            stem.with_suffix(".parquet"): table.to_parquet(index=False),
            stem.with_suffix(".json"): json_bytes(_group_metadata(embedded)),
            **status_files,
        }
    )


def _refuse_mixtures(records: list[tuple[Path, dict[str, Any]]]) -> None:
    runs: dict[str, list[str]] = {}
    for path, record in records:
        if record["Status"] == "embedded":
            settings = record["ConfigurationHash"].partition("-")[0]
            runs.setdefault(settings, []).append(path.name)
    if len(runs) > 1:
        listing = "; ".join(
            f"{key}: {len(names)} run(s), such as {', '.join(names[:_MIXTURE_EXAMPLES])}"
            for key, names in sorted(runs.items())
        )
        raise OptionsError(
            "runs of different settings, versions, weights or spaces cannot share a table: "
            f"{listing}.",
            hint="Run the participant level once more with one set of options, --space among "
            "them; it redoes only what differs. Delete runs that are not wanted.",
        )


def _status_row(record: dict[str, Any]) -> dict[str, Any]:
    qc = {
        key: ",".join(value) if isinstance(value, list | dict) else value
        for key, value in record["QC"].items()
    }
    return (
        _entity_columns(record["Entities"])
        | {"status": record["Status"], "reason": record["Reason"] or None}
        | {key: value if value != "" else None for key, value in qc.items()}
        | {"source": record["Source"]}
    )


def _entity_columns(entities: dict[str, str]) -> dict[str, str]:
    columns = {}
    for key, value in entities.items():
        if key == "desc":  # the same for every run: preproc
            continue
        name = _ID_COLUMNS.get(key, key)
        columns[name] = f"{key}-{value}" if key in ("sub", "ses") else value
    return columns


def _embedding_row(path: Path, record: dict[str, Any]) -> pd.DataFrame:
    values = _scan_embedding(path)
    columns = _status_row(record)
    keys = pd.DataFrame([columns]).drop(columns=["status", "reason"])
    keys["configuration_hash"] = record["ConfigurationHash"]
    return pd.concat([keys, values], axis=1)


def _scan_embedding(status: Path) -> pd.DataFrame:
    """Read the one row of a run's scan embedding, and check that it is whole."""
    path = status.with_name(status.name.replace("_status.json", "_desc-scan_embedding.tsv"))
    try:
        dim = json.loads(path.with_suffix(".json").read_text("utf-8"))["EmbeddingDimension"]
        values = pd.read_csv(path, sep="\t", na_values="n/a", dtype="float32")
        expected = embedding_columns(dim)
        if list(values.columns) != expected or len(values) != 1:
            raise ValueError(
                f"expected 1 row of {len(expected)} columns, found {values.shape[0]} of "
                f"{values.shape[1]}"
            )
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"{path}: the embedding of this run is damaged ({err}).",
            hint="Delete it and run the participant level again; it redoes only this run.",
        ) from err
    return values


def _ordered(columns: list[str]) -> list[str]:
    """Put identifying columns first, whatever the first scan happened to have."""
    first = [
        "participant_id", "session_id", "task_id", "acq", "ce", "rec", "dir", "run_id",
        "space", "res", "status", "reason",
    ]  # fmt: skip
    return [c for c in first if c in columns] + [c for c in columns if c not in first]


def _group_metadata(embedded: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    path, _ = embedded[0]
    name = path.name.replace("_status.json", "_desc-scan_embedding.json")
    sidecar = json.loads(path.with_name(name).read_text(encoding="utf-8"))
    shared = ("Model", "EmbeddingDimension", "Parts", "ScanVector", "Atlas", "SoftwareVersion")
    return {
        "Description": "One row per embedded run: identifiers, quality numbers, then the scan "
        "embedding (columns as in the runs' own tables). n/a: no signal in that network.",
        "NumberOfRuns": len(embedded),
        **{key: sidecar[key] for key in shared},
        **_STATUS_COLUMNS,
    }


_STATUS_COLUMNS = {
    "status": {
        "Levels": {
            "embedded": "all outputs are there",
            "excluded": "deliberately left out, see reason",
            "failed": "could not be processed, see reason",
        }
    },
    "n_volumes": {"Description": "Volumes of the BOLD image."},
    "tr": {"Description": "Repetition time.", "Units": "s"},
    "tr_source": {"Description": "Where the repetition time was found."},
    "duration": {"Description": "Length of the series, without dropped volumes.", "Units": "s"},
    "n_dropped": {"Description": "Leading non-steady-state volumes left out."},
    "n_interpolated": {"Description": "Motion outliers replaced from their neighbours."},
    "interpolated_fraction": {"Description": "Their share of the series."},
    "despiked_fraction": {"Description": "Share of values bridged as spikes of single parcels."},
    "usable_seconds": {"Description": "Time neither dropped nor interpolated.", "Units": "s"},
    "degrees_of_freedom": {"Description": "Left after filter and confound regression."},
    "mean_fd": {"Description": "Mean framewise displacement.", "Units": "mm"},
    "max_fd": {"Description": "Largest framewise displacement.", "Units": "mm"},
    "mean_std_dvars": {"Description": "Mean standardized DVARS."},
    "n_missing_parcels": {"Description": "Parcels without signal, of 457."},
    "n_low_coverage_parcels": {"Description": "Parcels with less than 80 % of their voxels."},
    "coverage_mean": {"Description": "Mean share of voxels used, over parcels with signal."},
    "coverage_min": {"Description": "Smallest such share."},
    "tsnr": {"Description": "Median over parcels of mean by std over time, before denoising."},
    "n_constant_parcels": {"Description": "Parcels that do not vary beyond rounding."},
    "n_implausible_parcels": {"Description": "Parcels of odd mean, or repeating another."},
    "homotopic_correlation": {
        "Description": "Mean correlation of parcels with mirrored names, mean signal removed."
    },
    "network_contrast": {
        "Description": "Mean correlation within networks minus between, mean signal removed."
    },
    "order_margin": {
        "Description": "network_contrast minus the largest that another known order would have."
    },
    "mirror_margin": {
        "Description": "Share of the atlas inside the brain mask minus that of its mirror image."
    },
    "best_order": {"Description": "Order with the largest network_contrast."},
    "missing_networks": {"Description": "Networks whose tokens were masked."},
    "n_windows": {"Description": "Windows of 200 s that were embedded."},
    "mask": {
        "Description": "Brain mask: file, derived from the data, or grayordinates (no mask)."
    },
    "flags": {"Description": "What to look at before using the run; docs/quality.md."},
}
