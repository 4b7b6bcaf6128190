"""Simulated scans with a known truth, and what the app made of them compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bids_app.files import read_table
from bids_app.outputs.paths import output_path
from model.cohort.names import DENOISED
from model.files.read import read_json

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from bids_app.inputs.entities import Entities

SPACE = "MNI152NLin2009cAsym"
VOXEL_MM = 4.0
# Sub, session, task, volumes, repetition time (s).
RUNS = (
    ("01", "1", "rest", 240, 2.0),
    ("01", "2", "rest", 240, 2.0),
    ("02", "1", "rest", 240, 2.0),
    ("02", "2", "rest", 240, 2.0),
    ("02", "2", "movie", 500, 0.8),
)
LOWEST_MEDIAN, LOWEST_MINIMUM, LOWEST_IDENTIFIED = 0.65, 0.4, 0.98
"""What a correct run exceeds. Cleaning cannot return all of the truth: 26 regressors take a
quarter of the degrees of freedom that 8 minutes have between 0.01 and 0.1 Hz."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How well the extracted series of one scan agree with the truth."""

    scan: str
    median: float
    """Correlation of a parcel's series with its truth: median over the parcels"""
    minimum: float
    identified: float
    """Share of parcels whose series resembles their own truth more than any other's"""

    @property
    def good(self) -> bool:
        """True where all three are as high as they should be; NaN is not."""
        return (
            self.median >= LOWEST_MEDIAN
            and self.minimum >= LOWEST_MINIMUM
            and self.identified >= LOWEST_IDENTIFIED
        )


def write_example(out: Path) -> list[Entities]:
    """Write scans, atlas and truth below `out`; return what names the scans."""
    from bids_app.demo.phantom import make_head, template_grid
    from bids_app.demo.tree import write_atlas, write_description, write_scan, write_truth
    from bids_app.inputs.entities import Entities

    head = make_head(template_grid(VOXEL_MM))
    write_description(out / "fmriprep")
    write_atlas(out / "atlas", head, space=SPACE)
    scans = []
    for sub, ses, task, n_volumes, tr_s in RUNS:
        entities = Entities(sub=sub, ses=ses, task=task, space=SPACE)
        files = write_scan(
            out / "fmriprep", head, entities=entities, n_volumes=n_volumes, tr_s=tr_s
        )
        write_truth(truth_path(out, entities), files.truth)
        scans.append(entities)
    return scans


def truth_path(out: Path, scan: Entities) -> Path:
    """Name the table of a scan's true signals: one row per volume, percent signal change."""
    return out / "truth" / f"{scan.run_stem}_desc-truth_timeseries.tsv"


def measure_recovery(out: Path, scan: Entities) -> Recovery:
    """Compare the written ``desc-denoised`` series of a scan with its truth."""
    table = output_path(out / "semantoks", scan, f"{DENOISED}.tsv")
    denoised, truth = read_table(table), read_table(truth_path(out, scan))
    dropped = read_json(table.with_suffix(".json"))["NumberOfVolumes"]["Dropped"]
    # By name: a swapped column must not pass.
    return compare(
        scan.run_stem,
        denoised[list(truth.columns)].to_numpy(),
        truth.to_numpy()[dropped:],
    )


def compare(
    name: str, series: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]
) -> Recovery:
    """Correlate (T, P) series with (T, P) truth, each parcel with each."""
    import numpy as np

    n_parcels = truth.shape[1]
    every = np.corrcoef(series.T, truth.T)[:n_parcels, n_parcels:]
    own = np.diag(every)
    return Recovery(
        scan=name,
        median=float(np.median(own)),
        minimum=float(own.min()),
        identified=float((every.argmax(axis=1) == np.arange(n_parcels)).mean()),
    )


def report(out: Path, recoveries: list[Recovery]) -> str:
    """Write, for a terminal, how well each scan agrees and where its files are."""
    rows = [
        f"  {r.scan:<26} {r.median:6.3f} {r.minimum:8.3f} {r.identified:10.1%}"
        f"   {'ok' if r.good else 'TOO LOW'}"
        for r in recoveries
    ]
    return "\n".join(
        [
            "\nExtracted series (desc-denoised) against the signals that were simulated:",
            f"  {'scan':<26} median  minimum identified",
            *rows,
            f"  expected at least          {LOWEST_MEDIAN:6.3f} {LOWEST_MINIMUM:8.3f}"
            f" {LOWEST_IDENTIFIED:10.1%}",
            "  (correlation per parcel; identified: closer to its own truth than to any other)",
            "\nWhere to look:",
            f"  {out / 'semantoks' / 'sub-01' / 'ses-1' / 'func'}  series, tokens, embeddings",
            f"  {out / 'semantoks'}  the group table of all scans, dataset files, logs",
            f"  {out / 'truth'}  the simulated signals",
            "  docs/outputs.md explains every file",
            "\nOpen in a browser:",
            f"  {out / 'semantoks' / 'sub-01.html'}  the report of a participant",
            f"  {out / 'semantoks' / 'group.html'}  all scans on one page",
        ]
    )
