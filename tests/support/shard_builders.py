"""Small folders of shards from seeds, and ways to damage them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from model.cohort.names import folder_of
from model.cohort.record import ScanRecord
from model.files.write import Digest
from model.networks import parcel_names
from model.series import ParcelSeries
from model.shards.store import NewScan, write_shards
from model.shards.subjects import split_subjects, write_lists
from model.spec import InputSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def noise_scans(
    n_subjects: int, *, n_sessions: int = 2, n_frames: int = 120, missing: slice = slice(0, 0)
) -> Iterator[NewScan]:
    """White noise that is a little alike in the sessions of a subject."""
    rng = np.random.default_rng(5)
    for subject in range(n_subjects):
        own = rng.standard_normal(457)
        for session in range(1, n_sessions + 1):
            values = (
                rng.standard_normal((n_frames, 457)) + rng.standard_normal((n_frames, 1)) * own
            )
            values[:, missing] = np.nan
            name = f"sub-{subject:02d}_ses-{session}"
            yield NewScan(
                subject=f"sub-{subject:02d}",
                session=f"ses-{session}",
                scan=name,
                source="tests",
                series=ParcelSeries(values=values, tr_s=2.0, unit="robust"),
            )


def make_shards(folder: Path, n_subjects: int = 12, **options: int) -> Path:
    """Write shards with lists of subjects, several to a folder, and return `folder`."""
    scans = noise_scans(n_subjects, **options)
    write_shards(folder, scans, InputSpec(), made_from="noise", shard_frames=500)
    subjects = [f"sub-{i:02d}" for i in range(n_subjects)]
    write_lists(folder, split_subjects(subjects, validation=0.1, test=0.2, seed=1))
    return folder


def write_output(folder, subject, values, *, session=None, configuration="abc", **meta):
    """Write what the participant level leaves of one run, as docs/outputs.md says."""
    stem = f"{subject}_{session}_task-rest" if session else f"{subject}_task-rest"
    entities = {"sub": subject.removeprefix("sub-"), "task": "rest"}
    entities |= {"ses": session.removeprefix("ses-")} if session else {}
    func = folder / folder_of(entities)
    func.mkdir(parents=True, exist_ok=True)
    header = "\t".join(parcel_names())
    rows = ["\t".join("n/a" if np.isnan(x) else f"{x:.8g}" for x in row) for row in values]
    for desc in ("model", "denoised"):
        path = func / f"{stem}_desc-{desc}_timeseries.tsv"
        path.write_text("\n".join([header, *rows]) + "\n")
        content = {"RepetitionTime": 2.0, "Normalization": "robust", "StartTime": 0.0} | meta
        content["ConfigurationHash"] = f"{configuration}-atlas"
        path.with_suffix(".json").write_text(json.dumps(content))
    outliers = "".join(f"{i}\t0\t{int(i == 4)}\n" for i in range(len(values)))
    (func / f"{stem}_outliers.tsv").write_text("volume\tdropped\tinterpolated\n" + outliers)
    record = ScanRecord(
        status="embedded",
        reason="",
        entities=entities,
        source=stem,
        configuration=f"{configuration}-atlas",
        outputs={path.name: Digest.of(path.read_bytes()) for path in func.glob(f"{stem}_*")},
    )
    (func / f"{stem}_status.json").write_text(json.dumps(record.as_json()))
    return func / stem
