"""Everything that is written about one embedded series that others made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.files import json_bytes, table_bytes
from bids_app.outputs.derivatives import (
    common_metadata,
    model_metadata,
    parcel_metadata,
    parcel_table,
    series_table,
)
from bids_app.outputs.embedding import embedding_files
from bids_app.outputs.paths import output_path
from bids_app.quality import checks as qc
from bids_app.signal.lost import lost_text
from model.cohort import names

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.inputs.scan import Scan
    from bids_app.series.foreign import ForeignSeries
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
    settings: dict[str, Any]
    """What must be the same for all scans of a table"""
    configuration: str

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.card.input.window_s

    def qc(self) -> dict[str, Any]:
        """Summarize the series for the status file and the group table, with its flags."""
        given, missing = self.foreign.series, self.model_series.missing
        n_usable = given.n_frames if given.kept is None else int(given.kept.sum())
        numbers = {
            "n_volumes": given.n_frames,
            "tr": given.tr_s,
            "tr_source": self.foreign.tr_source,
            "duration": round(given.n_frames * given.tr_s, qc.DIGITS),
            "n_without_signal": int((self.foreign.lost != "").sum()),
            "usable_seconds": round(n_usable * given.tr_s, qc.DIGITS),
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
            without_signal=lost_text(self.foreign.lost),
        )
        return numbers | {"flags": raised}


def series_files(result: SeriesResult, output_dir: Path) -> dict[Path, bytes]:
    """Render all tables, arrays and sidecars of one series; names as in docs/outputs.md.

    Returns
    -------
    Content by path.
    """
    series = result.model_series
    common = common_metadata(result.scan, result.configuration) | _input_metadata(result.foreign)
    described = model_metadata(series, from_tr_s=result.foreign.series.tr_s)
    rendered = {
        f"{names.MODEL}.tsv": table_bytes(series_table(series)),
        f"{names.MODEL}.json": json_bytes(common | described),
        f"{names.COVERAGE}.tsv": table_bytes(parcel_table(_reasons(result))),
        f"{names.COVERAGE}.json": json_bytes(common | parcel_metadata()),
        **embedding_files(result, common, settings=result.settings),
    }
    return {
        output_path(output_dir, result.scan.entities, ending): content
        for ending, content in rendered.items()
    }


def _reasons(result: SeriesResult) -> list[str]:
    """(P,) why a parcel is missing; empty where it is used."""
    foreign = result.foreign
    reasons = np.select(
        [~foreign.mapping.provided, foreign.series.missing, result.model_series.missing],
        ["no column in the input", "no value in the input", "constant series"],
        default="",
    )
    return [str(reason) for reason in reasons]


def _input_metadata(foreign: ForeignSeries) -> dict[str, Any]:
    return {
        "InputSeries": {
            "Mapping": foreign.mapping.evidence,
            "IgnoredColumns": list(foreign.mapping.ignored),
            "NumberOfFrames": foreign.series.n_frames,
            "RepetitionTime": foreign.series.tr_s,
            "RepetitionTimeSource": foreign.tr_source,
            "InterpolatedFrames": foreign.n_interpolated,
        },
    }
