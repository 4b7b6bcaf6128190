"""Ranges of the quality numbers in real scans: what `bids_app.quality.measures` calls usual.

Order of the parcels and windows: STAGES (14 people twice in two denoisings, 18 once) and ds000220
(12 people twice), cortex alone, through the bundled weights. Motion, and what the default
strategy makes of it: confounds of fMRIPrep as published, ds005165 (BMD, resting runs, 23.2.0) and
ds001499 (BOLD5000, 1.1.x; motion only). Signal-to-noise: STAGES after denoising, and the one image
that is at hand, 16 volumes of a CIFTI run, cortex alone: a number, no range. Usage::

    python benchmarks/good_scans.py

Data: $SEMANTOKS_TEST_DATA, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import uniform_filter1d

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_cohorts import COHORTS, as_series
from stages import SHARED

from bids_app.quality.checks import motion_numbers, order_numbers, parcel_numbers
from bids_app.report.figures import token_distance, window_similarity
from bids_app.signal.confounds import from_table
from bids_app.signal.denoise import plan_projection
from bids_app.signal.strategy import load_strategy
from model.checkpoint import load_encoder
from model.embed import embed_residual

TREES = {
    "ds005165": "ds005165_BMD_fmriprep-23.2.0_rest",
    "ds001499": "ds001499_BOLD5000_fmriprep-1.1.x_T1wonly",
}
OLD = {"FramewiseDisplacement": "framewise_displacement", "stdDVARS": "std_dvars"}
WINDOW_S = 200.0
NOISY = 8
"""Scans of each set whose windows are also compared where the whole scan is noise"""
SETS = ("stages", "stages-8phys", "ds000220")
CORTEX = "atlases/schaefer/Schaefer2018_400Parcels_7Networks_order.dlabel.nii"

Numbers = dict[str, list[float]]


def main() -> None:
    found: dict[str, Numbers] = {}
    encoder = load_encoder()
    for name in SETS:
        found[name] = of_series(name, encoder)
        tell(name, found[name])
    for name, tree in TREES.items():
        found[name] = of_confounds(SHARED / "fmriprep_trees" / f"{tree}.tar.gz")
        tell(name, found[name])
    (run,) = (SHARED / "bold").glob("*_space-fsLR_den-91k_bold.dtseries.nii")
    tell("one image", of_cortex(run))
    together: Numbers = defaultdict(list)
    for numbers in found.values():
        for key, values in numbers.items():
            together[key] += values
    tell("together", together)
    tell("noise in stages", with_noise(encoder))


def with_noise(encoder: Any, *, most: int = 16) -> Numbers:
    """How alike windows are where smooth noise stands for minutes: a scan's medians.

    Of all pairs of windows, and of those of the first window.
    """
    source, numbers, rng = COHORTS["stages"], defaultdict(list), np.random.default_rng(0)
    first = slice(encoder.card.input.window_samples)
    stored = [
        array for path in source.files for array in np.load(SHARED / "timeseries" / path).values()
    ]
    for array in stored[:most]:
        series = as_series(array.astype(np.float64), source)
        noise = uniform_filter1d(rng.normal(size=series.values.shape), 5, axis=0)
        noise *= series.values.std(axis=0) / noise.std(axis=0)
        one = series.values.copy()
        one[first] = noise[first]
        for what, values in {"": series.values, " first": one, " all": noise}.items():
            tokens = tokens_of(embed_residual(replace(series, values=values), encoder))
            similar = window_similarity(tokens)
            pairs = similar[np.triu_indices(len(similar), 1)]
            numbers[f"window_similarity{what}"].append(float(np.median(pairs)))
            numbers[f"window_similarity{what}, of the first"].append(
                float(np.median(similar[0, 1:]))
            )
    return numbers


def tokens_of(embedded: Any) -> npt.NDArray[np.float32]:
    """(W, N, K, D) tokens, NaN where they saw no data."""
    return np.where(embedded.embedding.valid[..., None], embedded.embedding.tokens, np.nan)


def of_series(name: str, encoder: Any) -> Numbers:
    """Numbers of a set of parcel series."""
    source, numbers = COHORTS[name], defaultdict(list)
    for path in source.files:
        with np.load(SHARED / "timeseries" / path) as file:
            for key in sorted(file.files):
                series = as_series(file[key].astype(np.float64), source)
                nothing_lost = np.zeros(series.values.shape[1], bool)
                add(numbers, parcel_numbers(series.values, lost=nothing_lost))
                embedded = embed_residual(series, encoder)
                add(numbers, order_numbers(embedded.series.values))
                numbers["duration"].append(series.n_frames * series.tr_s)
                tokens = tokens_of(embedded)
                similar = window_similarity(tokens)
                add_windows(numbers, similar, embedded.embedding.start_s)
                if len(numbers["duration"]) <= NOISY:
                    rng = np.random.default_rng(len(numbers["duration"]))
                    noise = uniform_filter1d(rng.normal(size=series.values.shape), 5, axis=0)
                    noisy = embed_residual(replace(series, values=noise), encoder)
                    similar = window_similarity(tokens_of(noisy))
                    add_windows(numbers, similar, noisy.embedding.start_s, of=" of noise")
                numbers["token_distance"].append(float(np.nanmedian(token_distance(tokens))))
    return numbers


def add_windows(
    numbers: Numbers,
    similar: npt.NDArray[np.float64],
    start_s: npt.NDArray[np.float64],
    of: str = "",
) -> None:
    """Add the similarity of windows: near ones share half of their time, apart a third."""
    for i, j in zip(*np.triu_indices(len(similar), 1), strict=True):
        shared = 1 - abs(start_s[i] - start_s[j]) / WINDOW_S
        place = "near" if shared >= 0.5 else "apart" if shared <= 1 / 3 else "between"
        numbers[f"windows{of}, {place}"].append(float(similar[i, j]))


def of_confounds(path: Path) -> Numbers:
    """Motion in the confounds of a tree, and what is left where they are complete."""
    numbers, strategy = defaultdict(list), load_strategy("default")
    with tarfile.open(path) as tree:
        members = {member.name: member for member in tree.getmembers()}
        for name in sorted(members):
            if not name.endswith(".tsv") or "confounds" not in name:
                continue
            table = pd.read_csv(io.BytesIO(tree.extractfile(members[name]).read()), sep="\t")
            table = table.rename(columns=OLD)
            fd, dvars = (table[key].to_numpy(float) for key in OLD.values())
            add(numbers, motion_numbers(fd, dvars))
            if "csf" not in table:
                continue
            scan = from_table(table, {}, strategy, dummy_scans=None, where=name)
            tr_s = repetition_time(tree, members, name)
            left = plan_projection(
                scan, n_frames=len(table), tr_s=tr_s, high_pass_hz=0.01, low_pass_hz=0.1
            )
            numbers["degrees_of_freedom"].append(left.dof)
            numbers["interpolated_fraction"].append(float((~scan.kept[scan.n_dummy :]).mean()))
            numbers["duration"].append((len(table) - scan.n_dummy) * tr_s)
    return numbers


def of_cortex(run: Path) -> Numbers:
    """Signal-to-noise and coverage of the cortical parcels of a CIFTI run, not denoised."""
    series, labels = nib.load(run), nib.load(SHARED / CORTEX)
    values, there, place = (
        series.get_fdata(), labels.header.get_axis(1), series.header.get_axis(1)
    )  # fmt: skip
    vertices = zip(there.name, there.vertex, strict=True)
    of_vertex = dict(zip(vertices, labels.get_fdata()[0], strict=True))
    parcel = np.array(
        [of_vertex.get(key, 0) for key in zip(place.name, place.vertex, strict=True)]
    )
    has_signal = np.ptp(values, axis=0) > 0
    used = [(parcel == label) & has_signal for label in range(1, 401)]
    means = np.stack([values[:, its].mean(axis=1) for its in used], axis=1)
    coverage = [its.sum() / (parcel == label).sum() for label, its in enumerate(used, start=1)]
    numbers: Numbers = defaultdict(list)
    add(numbers, parcel_numbers(means, lost=np.zeros(400, bool)))
    add(numbers, {"coverage_mean": float(np.mean(coverage)), "coverage_min": min(coverage)})
    return numbers


def repetition_time(tree: tarfile.TarFile, members: dict[str, Any], name: str) -> float:
    """Repetition time (s) in a sidecar of the same run's BOLD image."""
    stem = name.split("_desc-confounds")[0]
    for other in sorted(members):
        if other.startswith(stem) and other.endswith("_bold.json"):
            meta = json.loads(tree.extractfile(members[other]).read())
            if "RepetitionTime" in meta:
                return float(meta["RepetitionTime"])
    raise SystemExit(f"no repetition time beside {name}")


def add(numbers: Numbers, found: dict[str, Any]) -> None:
    for key, value in found.items():
        if isinstance(value, float | int):
            numbers[key].append(value)


def tell(name: str, numbers: Numbers) -> None:
    for key, values in numbers.items():
        ends = np.percentile(values, [0, 5, 50, 95, 100])
        print(name, key, len(values), *[f"{end:.4g}" for end in ends], sep="\t", flush=True)


if __name__ == "__main__":
    main()
