"""The app's tables of one scan, once more from the files it read: every step by the pages."""

from __future__ import annotations

import csv
import math

import builders
import nibabel as nib
import numpy as np
import pandas as pd
import plain
from click.testing import CliRunner

from bids_app.cli.app import main
from model.networks import parcel_names

N_PARCELS, TR_S = len(parcel_names()), 0.8
MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
TWENTY_SIX = [
    *(name + ending for name in MOTION for ending in ("", "_derivative1")),
    *(name + ending + "_power2" for name in MOTION for ending in ("", "_derivative1")),
    "white_matter",
    "csf",
]
"""What docs/denoising.md says of the strategy ``default``."""


def run_the_app(tmp_path):
    """Embed one simulated scan of 260 volumes; return its files and the output folder."""
    data = builders.make_dataset(tmp_path / "in", tasks={"rest": TR_S}, n_volumes=260)
    atlas = builders.make_atlas(tmp_path / "atlas")
    checkpoint = builders.make_checkpoint(tmp_path / "weights")
    words = [data.root, tmp_path / "out", "participant", "--atlas", atlas]
    words += ["--checkpoint", checkpoint, "--n-cpus", 1]
    answer = CliRunner().invoke(main, [str(word) for word in words])
    assert answer.exit_code == 0, answer.output
    (labels,) = atlas.rglob("*_dseg.nii.gz")
    return data.scans[0], labels, tmp_path / "out"


def table(out, ending):
    (path,) = out.rglob(f"*{ending}")
    return pd.read_csv(path, sep="\t", na_values="n/a").to_numpy(dtype=float)


def number(word):
    return math.nan if word == "n/a" else float(word)


def test_the_tables_of_a_scan_are_those_of_the_pages(tmp_path) -> None:
    scan, atlas, out = run_the_app(tmp_path)
    stored = np.asarray(nib.load(scan.bold).dataobj.get_unscaled())
    header = nib.load(scan.bold).dataobj
    parcels, _ = plain.parcel_means(
        stored,
        np.asarray(nib.load(atlas).dataobj),
        np.asarray(nib.load(scan.mask).dataobj) > 0,
        scaled=lambda number: number * float(header.slope) + float(header.inter),
        absent={},
        min_coverage=0.5,
        n_parcels=N_PARCELS,
    )
    columns = list(range(0, N_PARCELS, 13))  # the loops take their time
    series = [plain.despiked(parcels[column][0])[0] for column in columns]

    with scan.confounds.open() as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    confounds = {key: [number(row[key]) for row in rows] for key in rows[0]}
    unsteady = [
        any(confounds[key][frame] for key in confounds if key.startswith("non_steady"))
        for frame in range(len(rows))
    ]
    out_frames, n_dropped = plain.outliers(
        confounds["framewise_displacement"],
        confounds["std_dvars"],
        unsteady,
        fd_limit=0.5,
        dvars_limit=None,
        shortest=0,
        n_dropped=None,
    )
    good = [not outlier for outlier in out_frames][n_dropped:]
    regressors = [
        [0.0 if math.isnan(value) else value for value in confounds[key]][n_dropped:]
        for key in TWENTY_SIX
    ]
    denoised, _ = plain.denoised(
        [column[n_dropped:] for column in series],
        regressors,
        good,
        tr_s=TR_S,
        high_pass_hz=0.01,
        low_pass_hz=0.1,
    )
    model, _ = plain.model_input(denoised, good, tr_s=TR_S, method="robust")

    assert any(out_frames), "the simulated scan has no outlier: nothing was interpolated"
    with next(out.rglob("*_coverage.tsv")).open() as lines:
        used = [int(row["n_voxels_used"]) for row in csv.DictReader(lines, delimiter="\t")]
    assert used == [len(places) for _, _, places, _ in parcels]
    found = table(out, "_desc-denoised_timeseries.tsv")[:, columns]
    scale = np.nanmax(np.abs(found))
    np.testing.assert_allclose(found, np.transpose(denoised), rtol=0, atol=1e-6 * scale)
    found = table(out, "_desc-model_timeseries.tsv")[:, columns]
    np.testing.assert_allclose(found, np.transpose(model), rtol=0, atol=1e-4)
