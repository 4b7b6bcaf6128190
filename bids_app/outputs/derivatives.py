"""Everything that is made of one scan, and how it is rendered as BIDS-Derivatives.

The contract (names, columns, units, JSON keys) is docs/outputs.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app import __version__
from bids_app.atlas.volumes import ATLAS_LABEL
from bids_app.files import json_bytes, table_bytes
from bids_app.images.parcels import NOT_IN_ATLAS
from bids_app.options import scan_settings
from bids_app.outputs.embedding import embedding_files
from bids_app.outputs.paths import output_path
from bids_app.outputs.pictures import PICTURES_METADATA, pictures_npz
from bids_app.quality import checks as qc
from bids_app.signal.lost import lost_text
from model.cohort import names
from model.networks import parcel_names, parcels
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from bids_app.images.image import Image
    from bids_app.images.parcels import Parcellated
    from bids_app.inputs.scan import Scan
    from bids_app.options import SignalOptions
    from bids_app.signal.confounds import Confounds
    from bids_app.signal.denoise import Denoised
    from bids_app.signal.effect import Effect
    from bids_app.signal.strategy import Strategy
    from model.series import ParcelSeries, ScanEmbedding
    from model.spec import CheckpointCard


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanResult:
    """The products of each step of `bids_app.one_scan.embed_scan`, and its settings."""

    scan: Scan
    image: Image
    tr_source: str
    extracted: Parcellated
    """Frames without signal are interpolated."""
    lost: npt.NDArray[np.str_]
    """(T,) why an acquired volume holds no signal; empty where it does, or was dropped."""
    confounds: Confounds | None
    despiked_fraction: float | None
    """Share of the values that were bridged as spikes; None: not looked for."""
    cleaned: Denoised
    effect: Effect
    denoised: ParcelSeries
    model_series: ParcelSeries
    embedding: ScanEmbedding
    card: CheckpointCard
    strategy: Strategy
    signal: SignalOptions
    configuration: str

    __repr__ = shown

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.card.input.window_s

    @property
    def settings(self) -> dict[str, Any]:
        """What determines the numbers, in full."""
        return scan_settings(
            strategy=self.strategy,
            signal=self.signal,
            card=self.card,
            space=self.image.atlas.space,
        )

    @property
    def n_interpolated(self) -> int:
        """Volumes of the denoised series that were replaced from their neighbours."""
        return int((~self.cleaned.kept).sum())

    @property
    def mean_fd_mm(self) -> float | None:
        """Mean framewise displacement; None where the confounds do not tell."""
        if self.confounds is None or np.isnan(self.confounds.fd_mm).all():
            return None
        return float(np.nanmean(self.confounds.fd_mm))

    def qc(self) -> dict[str, Any]:
        """Summarize the scan for the status file and the group table, with its flags."""
        missing, cleaned = self.model_series.missing, self.cleaned
        in_atlas = np.array([why != NOT_IN_ATLAS for why in self.extracted.coverage.reason])
        numbers = {
            "n_volumes": self.image.n_frames,
            "tr": self.denoised.tr_s,
            "tr_source": self.tr_source,
            "duration": round(self.denoised.n_frames * self.denoised.tr_s, qc.DIGITS),
            "n_dropped": cleaned.n_dropped_start,
            "n_interpolated": self.n_interpolated,
            "interpolated_fraction": round(self.n_interpolated / cleaned.kept.size, qc.DIGITS),
            "n_without_signal": int((self.lost != "").sum()),
            "despiked_fraction": self.despiked_fraction,
            "usable_seconds": float(cleaned.kept.sum() * self.denoised.tr_s),
            "degrees_of_freedom": cleaned.dof,
            **self._motion(),
            **qc.coverage_numbers(
                self.extracted.coverage.fraction, missing=missing, in_atlas=in_atlas
            ),
            **qc.parcel_numbers(self.extracted.values[cleaned.n_dropped_start :], lost=missing),
            **qc.order_numbers(self.model_series.values),
            **qc.place_numbers(self.extracted.mirror_margin),
            "missing_networks": list(self.embedding.missing_networks),
            "n_windows": int(self.embedding.cls.shape[0]),
            "mask": self.extracted.mask_source,
        }
        raised = qc.flags(
            numbers,
            n_samples=self.model_series.n_frames,
            missing=missing,
            in_atlas=in_atlas,
            without_signal=lost_text(self.lost),
        )
        return numbers | {"flags": raised}

    def _motion(self) -> dict[str, Any]:
        if self.confounds is None:
            return {}
        return qc.motion_numbers(self.confounds.fd_mm, self.confounds.std_dvars)


def scan_files(result: ScanResult, output_dir: Path) -> dict[Path, bytes]:
    """Render all tables, arrays and sidecars of one scan.

    Returns
    -------
    Content by path, in the order of docs/outputs.md.
    """
    scan, common = result.scan, common_metadata(result.scan, result.configuration)
    rendered = {
        f"{names.DENOISED}.tsv": table_bytes(series_table(result.denoised)),
        f"{names.DENOISED}.json": json_bytes(common | _denoised_metadata(result)),
        f"{names.MODEL}.tsv": table_bytes(series_table(result.model_series)),
        f"{names.MODEL}.json": json_bytes(
            common | model_metadata(result.model_series, from_tr_s=result.denoised.tr_s)
        ),
        f"{names.COVERAGE}.tsv": table_bytes(coverage_table(result)),
        f"{names.COVERAGE}.json": json_bytes(common | _coverage_metadata(result)),
        **embedding_files(result, common, settings=result.settings),
        f"{names.OUTLIERS}.tsv": table_bytes(outliers_table(result)),
        f"{names.OUTLIERS}.json": json_bytes(common | _outliers_metadata(result)),
        f"{names.PICTURES}.npz": pictures_npz(result.extracted, result.effect),
        f"{names.PICTURES}.json": json_bytes(common | PICTURES_METADATA),
    }
    return {
        output_path(output_dir, scan.entities, ending): content
        for ending, content in rendered.items()
    }


def series_table(series: ParcelSeries) -> pd.DataFrame:
    """Return (T, 457) named columns; missing parcels are ``n/a`` throughout."""
    import pandas as pd

    return pd.DataFrame(series.values, columns=list(parcel_names()))


def coverage_table(result: ScanResult) -> pd.DataFrame:
    """Return one row per parcel with voxel counts, share used and the reason if missing."""
    coverage = result.extracted.coverage
    reasons = [
        reason or ("constant series" if gone else "")
        for reason, gone in zip(coverage.reason, result.model_series.missing, strict=True)
    ]
    return parcel_table(
        reasons,
        n_voxels_atlas=coverage.n_voxels_atlas,
        n_voxels_used=coverage.n_voxels_used,
        coverage=coverage.fraction,
    )


def parcel_table(reasons: Sequence[str], **counts: npt.NDArray[np.generic]) -> pd.DataFrame:
    """Return one row per parcel: its name, counts if there are any, used or missing, and why.

    Parameters
    ----------
    reasons
        Why a parcel is missing; empty where it is used.
    """
    import pandas as pd

    rows = parcels()
    return pd.DataFrame(
        {
            "index": [p.index for p in rows],
            "name": [p.name for p in rows],
            "network": [p.network for p in rows],
            "hemisphere": [p.hemisphere for p in rows],
            **counts,
            "status": ["missing" if reason else "used" for reason in reasons],
            "reason": [reason or None for reason in reasons],
        }
    )


def outliers_table(result: ScanResult) -> pd.DataFrame:
    """Return one row per acquired volume: motion, and what was done with the volume."""
    import pandas as pd

    confounds, n_volumes = result.confounds, result.image.n_frames
    dropped = np.arange(n_volumes) < result.cleaned.n_dropped_start
    outlier = ~confounds.kept if confounds else np.zeros(n_volumes, dtype=bool)
    unknown = np.full(n_volumes, np.nan)
    return pd.DataFrame(
        {
            "volume": np.arange(n_volumes),
            "onset": np.arange(n_volumes) * result.denoised.tr_s,
            "framewise_displacement": confounds.fd_mm if confounds else unknown,
            "std_dvars": confounds.std_dvars if confounds else unknown,
            names.DROPPED: dropped.astype(int),
            names.INTERPOLATED: (outlier & ~dropped).astype(int),
            "reason": [reason or None for reason in confounds.outlier_reasons]
            if confounds
            else None,
        }
    )


def common_metadata(scan: Scan, configuration: str) -> dict[str, Any]:
    """Say what every sidecar of a scan says."""
    return {
        "Sources": scan.source_uris(),
        "Atlas": ATLAS_LABEL,
        "Space": scan.entities.space,
        "SoftwareVersion": f"semantoks {__version__}",
        "ConfigurationHash": configuration,
    }


def _denoised_metadata(result: ScanResult) -> dict[str, Any]:
    tr_s = result.denoised.tr_s
    return {
        "Description": "Mean signal of each parcel after confound regression and filtering, "
        "at the scan's own repetition time.",
        "SamplingFrequency": 1 / tr_s,
        "RepetitionTime": tr_s,
        "RepetitionTimeSource": result.tr_source,
        "StartTime": result.denoised.start_s,
        "Units": "as in the BOLD image, mean removed",
        "NumberOfVolumes": {
            "Original": result.image.n_frames,
            "Dropped": result.cleaned.n_dropped_start,
            "Interpolated": result.n_interpolated,
            "WithoutSignal": int((result.lost != "").sum()) or None,
        },
        "MeanFramewiseDisplacement": result.mean_fd_mm,
        "DespikedFraction": result.despiked_fraction,
        "DenoiseStrategy": result.strategy.name,
        "ConfoundRegressors": list(result.cleaned.regressor_names),
        "ComputedRegressors": (result.confounds and list(result.confounds.computed)) or None,
        "DegreesOfFreedomLeft": result.cleaned.dof,
        "SoftwareFilters": _filters(result),
        "SkullStripped": _flag(result.scan.metadata.get("SkullStripped")),
        "Mask": result.extracted.mask_source,
        "MissingParcels": _missing_names(result.model_series),
    }


def _flag(value: object) -> bool | None:
    """Hand on what a foreign sidecar says if it is what the key may hold, and nothing else."""
    return value if isinstance(value, bool) else None


def _filters(result: ScanResult) -> dict[str, Any]:
    cleaned = result.cleaned
    return {"Butterworth": {"HighPass": cleaned.high_pass_hz, "LowPass": cleaned.low_pass_hz}}


def model_metadata(series: ParcelSeries, *, from_tr_s: float) -> dict[str, Any]:
    """Describe the model's input, which was resampled from another repetition time (s)."""
    return {
        "Description": "What the encoder saw: resampled, normalized per parcel and scan.",
        "SamplingFrequency": 1 / series.tr_s,
        "RepetitionTime": series.tr_s,
        "StartTime": series.start_s,
        "Units": "standard deviations",
        "Resampling": {
            "From": from_tr_s,
            "To": series.tr_s,
            "Method": "none"
            if series.tr_s == from_tr_s
            else "anti-aliased windowed sinc, odd reflection at the ends",
        },
        "Normalization": series.unit,
        "MissingParcels": _missing_names(series),
    }


def _coverage_metadata(result: ScanResult) -> dict[str, Any]:
    in_atlas, used = (
        (
            "Grayordinates of the parcel in the atlas.",
            "Of these, in the file, finite, not constant.",
        )
        if result.image.kind == "CIFTI"
        else (
            "Voxels of the parcel on the BOLD grid.",
            "Of these, inside the mask, finite, not constant.",
        )
    )
    return {
        "Description": "Voxels behind each parcel's series.",
        "MinimumCoverage": result.signal.min_coverage,
        "Mask": result.extracted.mask_source,
        "NonFiniteVoxels": result.extracted.n_nonfinite_voxels,
        "n_voxels_atlas": {"Description": in_atlas},
        "n_voxels_used": {"Description": used},
        "coverage": {"Description": "n_voxels_used / n_voxels_atlas"},
        **_PARCEL_COLUMNS,
    }


def parcel_metadata() -> dict[str, Any]:
    """Describe the parcels of a series that others made, of whose voxels nothing is known."""
    return {"Description": "Which parcels the input series had.", **_PARCEL_COLUMNS}


_PARCEL_COLUMNS = {
    "status": {"Levels": {"used": "has a series", "missing": "n/a in all tables"}},
    "reason": {"Description": "Why the parcel is missing; n/a if it is used."},
}


def _outliers_metadata(result: ScanResult) -> dict[str, Any]:
    return {
        "Description": "Motion of each acquired volume, and what was done with it.",
        "Thresholds": {
            "FramewiseDisplacement": result.strategy.fd_threshold_mm,
            "StdDVARS": result.strategy.std_dvars_threshold,
        },
        "volume": {"Description": "0-based index of the acquired volume."},
        "onset": {"Description": "Index times repetition time.", "Units": "s"},
        "framewise_displacement": {"Description": "As fMRIPrep gives it.", "Units": "mm"},
        "std_dvars": {"Description": "Standardized DVARS as fMRIPrep gives it."},
        names.DROPPED: {"Description": "1: leading non-steady-state volume, not in the series."},
        names.INTERPOLATED: {"Description": "1: replaced from its neighbours, time axis intact."},
        "reason": {"Description": "What made it an outlier: the measures beyond their threshold."},
    }


def _missing_names(series: ParcelSeries) -> list[str]:
    return [parcel_names()[i] for i in np.flatnonzero(series.missing)]
