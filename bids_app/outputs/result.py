"""Everything that is written about one embedded scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_app.images.parcels import NOT_IN_ATLAS
from bids_app.quality import checks as qc

if TYPE_CHECKING:
    from bids_app.images.image import Image
    from bids_app.images.parcels import Parcellated
    from bids_app.inputs.scan import Scan
    from bids_app.signal.confounds import Confounds
    from bids_app.signal.denoise import Denoised
    from bids_app.signal.options import SignalOptions
    from bids_app.signal.strategy import Strategy
    from model.series import ParcelSeries, ScanEmbedding
    from model.spec import CheckpointCard


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanResult:
    """The products of each step of `bids_app.participant.embed_scan`, and its settings."""

    scan: Scan
    image: Image
    tr_source: str
    extracted: Parcellated
    confounds: Confounds | None
    despiked_fraction: float | None
    """Share of the values that were bridged as spikes; None: not looked for."""
    cleaned: Denoised
    denoised: ParcelSeries
    model_series: ParcelSeries
    embedding: ScanEmbedding
    card: CheckpointCard
    strategy: Strategy
    signal: SignalOptions
    configuration: str

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.card.input.window_s

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
        )
        return numbers | {"flags": raised}

    def _motion(self) -> dict[str, Any]:
        if self.confounds is None:
            return {}
        return qc.motion_numbers(self.confounds.fd_mm, self.confounds.std_dvars)
