"""Speed and memory of the path from a compressed BOLD image to parcel series and outputs.

One synthetic scan on the 2 mm MNI152NLin2009cAsym grid (97 x 115 x 97), 457 parcels over all
220,199 voxels of the brain, written as nibabel writes (gzip level 1), as float32 and as int16
without a slope (with one, nilearn computes in float64 and takes twice the time). Every
measurement is a fresh process; rounds are interleaved; the shortest time and the largest memory
are reported.

    python benchmarks/extraction.py --folder /tmp/extraction
    python benchmarks/extraction.py --frames 60 --rounds 1     # small
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
SPACE, TR_S, VOXEL_MM = "MNI152NLin2009cAsym", 2.0, 2.0
GAIN = {"int16": 16, "float32": 1}
"""Stored values per unit of intensity: integers use their range."""
PIECE = 1 << 20
FIELD_OF_VIEW = 0.68
"""Share of the grid that is not zero: it makes the files as compressible as real ones."""
READ, READ_STDLIB = "read only, isal", "read only, zlib"
OURS, OURS_STDLIB, NILEARN = "semantoks", "semantoks, zlib", "nilearn"
RUN, AGAIN = "participant level", "participant level, again"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="Where to keep the images. Default: nowhere.")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtypes", nargs="+", choices=list(GAIN), default=list(GAIN))
    parser.add_argument("--step", nargs=3, metavar=("NAME", "BOLD", "FOLDER"), help="(internal)")
    args = parser.parse_args()
    if args.step:
        name, bold, folder = args.step
        print(json.dumps(STEPS[name](Path(bold), Path(folder))))
        return
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        folder = args.folder or Path(temporary)
        images = {dtype: write_study(folder, dtype, args.frames) for dtype in args.dtypes}
        for dtype, bold in images.items():
            measure(folder, bold, dtype=dtype, rounds=args.rounds)


def measure(folder: Path, bold: Path, *, dtype: str, rounds: int) -> None:
    """Run all steps in turns, print a JSON line for each, and the ratios as a table."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for name in STEPS:
            command = [sys.executable, __file__, "--step", name, str(bold), str(folder)]
            answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
            found.setdefault(name, []).append(json.loads(answer.stdout.splitlines()[-1]))
    best = {name: _best(runs) for name, runs in found.items()}
    for name, numbers in best.items():
        line = {"benchmark": "extraction", "dtype": dtype, "step": name, "rounds": rounds}
        print(json.dumps(line | {key: round(value, 3) for key, value in numbers.items()}))
    _print_table(best, folder, bold, dtype=dtype)


def _best(runs: list[dict[str, float]]) -> dict[str, float]:
    """Take the shortest time and the largest memory."""
    return {key: (max if key == "peak_mb" else min)(run[key] for run in runs) for key in runs[0]}


def _print_table(
    best: dict[str, dict[str, float]], folder: Path, bold: Path, *, dtype: str
) -> None:
    def times(name: str, other: str | None = None) -> tuple[float, ...]:
        """Wall and CPU seconds of a step, or how often another's go into them."""
        by = dict.fromkeys(best[name], 1.0) if other is None else best[other]
        return tuple(best[name][key] / by[key] for key in ("seconds", "cpu_seconds"))

    ours, theirs, zlib = (
        np.load(folder / f"{dtype}_{name}.npy") for name in (OURS, NILEARN, OURS_STDLIB)
    )
    difference, n_other = float(np.abs(ours / theirs - 1).max()), int((ours != zlib).sum())
    allowed = ", ".join(f"{2.5 * value + 3:.2f}" for value in times(READ))
    rows: list[tuple[str, tuple[float, ...], str]] = [
        ("nilearn / semantoks", times(NILEARN, OURS), ">= 6" if dtype == "int16" else ">= 4"),
        ("semantoks / reading only", times(OURS, READ), "<= 1.15"),
        ("the same with the standard library", times(OURS_STDLIB, READ_STDLIB), ""),
        ("semantoks, MB above imports", (best[OURS]["peak_mb"],), "<= 200"),
        ("nilearn, MB above imports", (best[NILEARN]["peak_mb"],), ""),
        ("largest relative difference to nilearn", (difference,), "<= 1e-6"),
        ("values that differ between isal and zlib", (n_other,), "0"),
        ("participant level, s", times(RUN), f"<= {allowed}"),
        ("participant level again, s", times(AGAIN), ""),
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{dtype}, {bold.stat().st_size / 1e6:.0f} MB; load {load} on {os.cpu_count()} CPUs")
    print(f"  {'':<42}{'wall':>10}{'CPU':>10}   target")
    for what, values, target in rows:
        print(f"  {what:<42}{''.join(f'{value:>10.4g}' for value in values):<20}   {target}")
    print(flush=True)


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Measure work in this process: wall and CPU seconds, peak memory above what is there."""
    before, wall, cpu = _status_mb("VmRSS"), time.perf_counter(), time.process_time()
    work()
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": _status_mb("VmHWM") - before,
    }


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def read_only(bold: Path, opener: Callable[..., Any]) -> dict[str, float]:
    def work() -> None:
        with opener(bold, "rb") as file:
            while file.read(PIECE):
                pass

    return timed(work)


def read_isal(bold: Path, folder: Path) -> dict[str, float]:  # noqa: ARG001 all steps alike
    from isal import igzip

    return read_only(bold, igzip.open)


def read_stdlib(bold: Path, folder: Path) -> dict[str, float]:  # noqa: ARG001
    import gzip

    return read_only(bold, gzip.open)


def ours(bold: Path, folder: Path, *, name: str = OURS) -> dict[str, float]:
    import nibabel  # noqa: F401 not part of the work

    from bids_app.images.nifti import load_mask, open_nifti
    from bids_app.images.nifti_parcels import parcellate

    labels = np.load(folder / "labels.npy")
    values: list[npt.NDArray[np.float64]] = []

    def work() -> None:
        image = open_nifti(bold)
        mask = load_mask(_mask(bold), image)
        values.append(parcellate(image, labels, mask, absent={}, min_coverage=0.5).values)

    numbers = timed(work)
    np.save(folder / f"{_dtype(bold)}_{name}.npy", values[0])
    return numbers


def ours_stdlib(bold: Path, folder: Path) -> dict[str, float]:
    sys.modules["isal"] = None  # type: ignore[assignment]
    return ours(bold, folder, name=OURS_STDLIB)


def nilearn(bold: Path, folder: Path) -> dict[str, float]:
    import nibabel as nib
    from nilearn.maskers import NiftiLabelsMasker

    labels = nib.Nifti1Image(np.load(folder / "labels.npy"), nib.load(bold).affine)
    values: list[npt.NDArray[np.float64]] = []

    def work() -> None:
        masker = NiftiLabelsMasker(labels, mask_img=str(_mask(bold)), standardize=None)
        values.append(masker.fit_transform(str(bold)))

    numbers = timed(work)
    np.save(folder / f"{_dtype(bold)}_{NILEARN}.npy", values[0])
    return numbers


def participant(bold: Path, folder: Path, *, overwrite: bool = True) -> dict[str, float]:
    """Run the command line as a user does, from process start to its end."""
    command = [sys.executable, "-m", "bids_app", str(bold.parents[2])]
    command += [
        str(folder / f"out_{_dtype(bold)}"),
        "participant",
        "--atlas",
        str(folder / "atlas"),
    ]
    command += ["--overwrite"] * overwrite
    wall = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    _, code, usage = os.wait4(process.pid, 0)
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def participant_again(bold: Path, folder: Path) -> dict[str, float]:
    return participant(bold, folder, overwrite=False)


STEPS: dict[str, Callable[[Path, Path], dict[str, float]]] = {
    READ: read_isal,
    OURS: ours,
    NILEARN: nilearn,
    READ_STDLIB: read_stdlib,
    OURS_STDLIB: ours_stdlib,
    RUN: participant,
    AGAIN: participant_again,
}


def _dtype(bold: Path) -> str:
    return bold.parents[2].name.partition("_")[0]


def _mask(bold: Path) -> Path:
    return bold.with_name(bold.name.replace("desc-preproc_bold", "desc-brain_mask"))


def write_study(folder: Path, dtype: str, n_frames: int) -> Path:
    """Write atlas and derivative unless they are there; return the BOLD image."""
    from scipy.ndimage import distance_transform_edt

    from bids_app.demo.phantom import make_head, template_grid, tiny_grid
    from bids_app.demo.tree import write_atlas, write_description, write_image, write_scan
    from bids_app.inputs.entities import Entities

    root = folder / f"{dtype}_{n_frames}"
    entities = Entities(sub="01", task="rest", space=SPACE)
    bold = root / "sub-01" / "func" / f"{entities.stem(desc='preproc')}_bold.nii.gz"
    if (root / "dataset_description.json").exists():
        return bold
    head = make_head(template_grid(VOXEL_MM))
    # Every voxel of the brain belongs to its nearest parcel: more than in any real atlas.
    nearest = distance_transform_edt(head.labels == 0, return_distances=False, return_indices=True)
    head = replace(head, labels=np.where(head.brain, head.labels[tuple(nearest)], 0))
    # Confounds and sidecars of a small scan; its image is replaced by the large one.
    small = make_head(tiny_grid())
    files = write_scan(root, small, entities=entities, n_volumes=n_frames, tr_s=TR_S)
    write_atlas(folder / "atlas", head, space=SPACE)
    np.save(folder / "labels.npy", head.labels.astype(np.int32))
    write_image(files.mask, head.brain.astype(np.uint8), head.grid)
    write_bold(files.bold, head, files.truth, dtype=dtype)
    write_description(root)
    return bold


def write_bold(path: Path, head: Any, truth: npt.NDArray[np.float64], *, dtype: str) -> None:
    """Write volume by volume: tissue, its parcel's signal, noise; zero outside the field."""
    import gzip

    import nibabel as nib
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(~head.brain)
    seen = distance <= np.quantile(distance, FIELD_OF_VIEW)
    mean = np.where(head.brain, 1000, np.where(seen, 60, 0)).astype(np.float32).ravel(order="F")
    noise = np.where(head.brain, 25, np.where(seen, 8, 0)).astype(np.float32).ravel(order="F")
    parcel = head.labels.ravel(order="F")
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape((*head.grid.shape, len(truth)))
    header.set_sform(head.grid.affine, code="mni")
    header.set_xyzt_units("mm", "sec")
    header["pixdim"][1:5] = VOXEL_MM, VOXEL_MM, VOXEL_MM, TR_S
    header["magic"], header["vox_offset"] = b"n+1", 352
    header.set_slope_inter(1, 0)
    rng = np.random.default_rng(0)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for signal in truth:
            percent = np.r_[0, signal].astype(np.float32)[parcel]
            volume = mean * (1 + percent / 100)
            volume += noise * rng.standard_normal(mean.size, dtype=np.float32)
            volume *= GAIN[dtype]
            stored = np.rint(volume) if dtype == "int16" else volume
            file.write(stored.astype(dtype).tobytes())


if __name__ == "__main__":
    main()
