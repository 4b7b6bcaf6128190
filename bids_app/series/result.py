"""Everything that is written about one embedded series that others made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bids_app import __version__
from bids_app.atlas.folder import ATLAS_LABEL
from bids_app.files import json_bytes, table_bytes
from bids_app.outputs.derivatives import model_metadata, series_table
from bids_app.outputs.embedding import embedding_files
from bids_app.outputs.paths import output_path
from bids_app.quality import checks as qc
from model.cohort import names
from model.networks import parcels

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.series.read import ForeignSeries
    from model.series import ParcelSeries, ScanEmbedding
    from model.spec import CheckpointCard


@dataclass(frozen=True, kw_only=True, eq=False)
class SeriesResult:
    """The products of `bids_app.series.run.embed_foreign`."""

    scan: Scan
    foreign: ForeignSeries
    model_series: ParcelSeries
    embedding: ScanEmbedding
    card: CheckpointCard
    configuration: str

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.card.input.window_s

    def qc(self) -> dict[str, Any]:
        """Summarize the series for the status file and the group table, with its flags."""
        given, missing = self.foreign.series, self.model_series.missing
        numbers = {
            "n_volumes": given.n_frames,
            "tr": given.tr_s,
            "tr_source": self.foreign.tr_source,
            "duration": round(given.n_frames * given.tr_s, qc.DIGITS),
            "n_missing_parcels": int(missing.sum()),
            **qc.parcel_numbers(given.values.astype(np.float64), lost=missing),
            **qc.order_numbers(self.model_series.values),
            "missing_networks": list(self.embedding.missing_networks),
            "n_windows": int(self.embedding.cls.shape[0]),
        }
        raised = qc.flags(
            # Voxels are not known here: no parcel is of low coverage.
            numbers | {"n_low_coverage_parcels": 0},
            n_samples=self.model_series.n_frames,
            missing=missing,
            in_atlas=self.foreign.mapping.provided,
        )
        return numbers | {"flags": raised}


def series_files(result: SeriesResult, output_dir: Path) -> dict[Path, bytes]:
    """Render all tables, arrays and sidecars of one series; names as in docs/outputs.md.

    Returns
    -------
    Content by path.
    """
    common, series = _common_metadata(result), result.model_series
    described = model_metadata(series, from_tr_s=result.foreign.series.tr_s)
    rendered = {
        f"{names.MODEL}.tsv": table_bytes(series_table(series)),
        f"{names.MODEL}.json": json_bytes(common | described),
        f"{names.COVERAGE}.tsv": table_bytes(parcel_table(result)),
        f"{names.COVERAGE}.json": json_bytes(common | _PARCEL_COLUMNS),
        **embedding_files(result, common),
    }
    return {
        output_path(output_dir, result.scan, ending): content
        for ending, content in rendered.items()
    }


def parcel_table(result: SeriesResult) -> pd.DataFrame:
    """Return one row per parcel: used or missing, and why."""
    rows, foreign = parcels(), result.foreign
    reasons = np.select(
        [~foreign.mapping.provided, foreign.series.missing, result.model_series.missing],
        ["no column in the input", "no value in the input", "constant series"],
        default="",
    )
    return pd.DataFrame(
        {
            "index": [p.index for p in rows],
            "name": [p.name for p in rows],
            "network": [p.network for p in rows],
            "hemisphere": [p.hemisphere for p in rows],
            "status": ["missing" if reason else "used" for reason in reasons],
            "reason": [reason or None for reason in reasons],
        }
    )


def _common_metadata(result: SeriesResult) -> dict[str, Any]:
    scan, mapping = result.scan, result.foreign.mapping
    return {
        "Sources": scan.source_uris(),
        "Atlas": ATLAS_LABEL,
        "Space": scan.entities.space,
        "SoftwareVersion": f"semantoks {__version__}",
        "ConfigurationHash": result.configuration,
        "InputSeries": {
            "Mapping": mapping.evidence,
            "IgnoredColumns": list(mapping.ignored),
            "NumberOfFrames": result.foreign.series.n_frames,
            "RepetitionTime": result.foreign.series.tr_s,
            "RepetitionTimeSource": result.foreign.tr_source,
            "InterpolatedFrames": result.foreign.n_interpolated,
        },
    }


_PARCEL_COLUMNS = {
    "Description": "Which parcels the input series had.",
    "status": {"Levels": {"used": "has a series", "missing": "n/a in all tables"}},
    "reason": {"Description": "Why the parcel is missing; n/a if it is used."},
}
