"""Store the real series that weights may be fitted on as shards, one folder a cohort.

Cortex only: subcortex and cerebellum are missing. ds000220 is band-passed as the app does (its
series are not low-passed); all are despiked and normalized as the app does. One set may not be
fitted on (ds004592) and is not known here. Usage::

    python benchmarks/real_cohorts.py FOLDER [--cohorts NAME ...] [--normalization zscore]

Data: $SEMANTOKS_TEST_DATA, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages import N_CORTEX, SHARED, TR_S

from bids_app.signal.denoise import denoise
from model.networks import parcel_names
from model.preprocess import prepare
from model.series import ParcelSeries
from model.shards.store import NewScan, write_shards
from model.spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A set of series by ``subject_session``, and what is known of it."""

    files: tuple[str, ...]
    study: str
    """Begins the subjects' names: no two studies share a subject"""
    licence: str
    parcels_first: bool
    band_hz: tuple[float, float] | None = None
    """To be filtered to; None: it is already"""


STAGES = "Apache-2.0"
STAGES_DEV = "stages_dev_schaefer400x7n_aseg19.npz"
STAGES_SINGLE = "stages_single_schaefer400x7n_aseg19.npz"
COHORTS = {
    "stages": Source(
        files=(STAGES_DEV, STAGES_SINGLE),
        study="stages",
        licence=STAGES,
        parcels_first=True,
    ),
    "stages-dev": Source(
        files=(STAGES_DEV,),
        study="stages",
        licence=STAGES,
        parcels_first=True,
    ),
    "stages-single": Source(
        files=(STAGES_SINGLE,),
        study="stages",
        licence=STAGES,
        parcels_first=True,
    ),
    "stages-8phys": Source(
        files=("stages_dev_8phys_schaefer400x7n_aseg19.npz",),
        study="stages",
        licence=STAGES,
        parcels_first=True,
    ),
    "ds000220": Source(
        files=("ds000220_controls_schaefer400.npz",),
        study="ds000220",
        licence="CC0-1.0 (images), MIT (series)",
        parcels_first=False,
        band_hz=(0.01, 0.1),
    ),
}
"""``stages`` is ``stages-dev`` (two sessions) and ``stages-single`` together: one study.
``stages-8phys`` holds the people of ``stages-dev`` again, denoised otherwise."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="gets one new folder of shards a cohort")
    parser.add_argument("--cohorts", nargs="+", choices=list(COHORTS), default=list(COHORTS))
    parser.add_argument("--normalization", choices=["robust", "zscore"], default="robust")
    options = parser.parse_args()
    spec = InputSpec(normalization=options.normalization)
    for name in options.cohorts:
        source = COHORTS[name]
        paths = [SHARED / "timeseries" / file for file in source.files]
        options.folder.mkdir(parents=True, exist_ok=True)
        made = write_shards(
            options.folder / name,
            scans(source, paths, spec),
            spec,
            made_from=", ".join(path.stem for path in paths),
            licence=source.licence,
        )
        print(f"{options.folder / name}\t{made.n_scans} scans of {made.n_subjects} subjects")


def scans(source: Source, paths: list[Path], spec: InputSpec) -> Iterator[NewScan]:
    """Read a set, normalized as the app does."""
    for path in paths:
        with np.load(path) as file:
            for key in sorted(file.files):
                subject, session = key.split("_")
                subject = f"sub-{source.study}{subject.removeprefix('sub-')}"
                yield NewScan(
                    subject=subject,
                    session=session,
                    scan=f"{subject}_{session}",
                    source=f"{path.name} {key}",
                    series=prepare(as_series(file[key].astype(np.float64), source), spec),
                )


def as_series(stored: Array, source: Source) -> ParcelSeries:
    """Return a scan with all 457 parcels, those that the set lacks missing, in its band."""
    cortex = (stored.T if source.parcels_first else stored)[:, :N_CORTEX]
    values = np.full((len(cortex), len(parcel_names())), np.nan)
    values[:, :N_CORTEX] = cortex
    if source.band_hz is not None:
        low, high = source.band_hz
        filtered = denoise(values, tr_s=TR_S, confounds=None, high_pass_hz=low, low_pass_hz=high)
        values = filtered.values
    return ParcelSeries(values=values, tr_s=TR_S, unit="residual")


if __name__ == "__main__":
    main()
