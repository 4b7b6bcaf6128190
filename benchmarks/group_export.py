"""Group export of synthetic participant outputs: time per scan and memory against their number.

    python benchmarks/group_export.py 1000 10000 100000 [--folder /tmp/group_export]

Status files are real; the embeddings (2,816 columns) are hard links to 5,000 tables, more than a
row group holds, so that 100,000 scans take 1 GB of disk instead of 7. What is measured is thus
work and system calls from the page cache, not a disk. Each export runs in a process of its own.
Prints one JSON line per export, then a table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

import numpy as np

from model.cohort.names import embedding_columns, parts_of
from model.cohort.record import ScanRecord
from model.files.write import Digest
from model.networks import NETWORKS

Template: TypeAlias = tuple[Path, Digest]

DIM = 256
N_TEMPLATES = 5000
STEM = "task-rest_space-MNI152NLin6Asym_atlas-Semantoks457_res-2"
EXPORT = """
import json, resource, sys, time
from pathlib import Path
from bids_app.group.export import export_group
from bids_app.group.options import GroupOptions
loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.perf_counter(), time.process_time()
export_group(Path(sys.argv[1]), GroupOptions(tsv="--tsv" in sys.argv))
print(json.dumps({
    "seconds": time.perf_counter() - begun[0], "cpu_seconds": time.process_time() - begun[1],
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "import_mb": loaded / 1024,
}))
"""
QC = {
    "n_volumes": 490, "tr": 0.735, "tr_source": "sidecar", "duration": 360.15, "n_dropped": 0,
    "n_interpolated": 3, "interpolated_fraction": 0.0061, "usable_seconds": 357.9,
    "degrees_of_freedom": 41.0, "mean_fd": 0.12, "max_fd": 0.9, "mean_std_dvars": 1.01,
    "n_missing_parcels": 0, "n_low_coverage_parcels": 2, "coverage_mean": 0.98,
    "coverage_min": 0.6, "tsnr": 61.2, "n_constant_parcels": 0, "n_implausible_parcels": 0,
    "homotopic_correlation": 0.51, "network_contrast": 0.17, "order_margin": 0.12,
    "best_order": "semantoks457", "missing_networks": [], "n_windows": 3, "mask": "file",
    "flags": {"low_coverage": "2 parcels with less than 80 % of their voxels"},
}  # fmt: skip

CONFIGURATION = "0123456789abcdef-01234567"
SIDECAR = dict.fromkeys(("Atlas", "SoftwareVersion"), "x" * 600) | {
    "Parts": dict.fromkeys(parts_of(NETWORKS), "x" * 60),
    "Settings": {"version": "x" * 600},
    "Model": {"Name": "x", "WeightsSHA256": "0" * 64},
    "EmbeddingDimension": DIM,
    "ScanVector": ["networks"],
    "MissingNetworks": [],
    "ConfigurationHash": CONFIGURATION,
}


def write_cohort(out: Path, numbers: range, templates: list[tuple[Template, Template]]) -> None:
    for number in numbers:
        sub = f"{number:06d}"
        folder = out / f"sub-{sub}" / "func"
        folder.mkdir(parents=True)
        name = folder / f"sub-{sub}_{STEM}"
        outputs = {}
        for (template, digest), suffix in zip(
            templates[number % N_TEMPLATES], ("tsv", "json"), strict=True
        ):
            path = Path(f"{name}_desc-scan_embedding.{suffix}")
            os.link(template, path)
            outputs[path.name] = digest
        write_status(Path(f"{name}_status.json"), sub, outputs)


def write_status(path: Path, sub: str, outputs: dict[str, Digest]) -> None:
    record = ScanRecord(
        status="embedded",
        reason="",
        entities={"sub": sub, "task": "rest", "space": "MNI152NLin6Asym", "res": "2"},
        source=f"bids:preprocessed:sub-{sub}/func/sub-{sub}_task-rest_desc-preproc_bold.nii.gz",
        configuration=CONFIGURATION,
        software="semantoks",
        outputs=outputs,
        qc=QC,
    )
    path.write_text(json.dumps(record.as_json(), indent=2))


def write_templates(folder: Path) -> list[tuple[Template, Template]]:
    folder.mkdir(parents=True)
    names, found = embedding_columns(DIM, parts_of(NETWORKS)), []
    for seed in range(N_TEMPLATES):
        values = np.random.default_rng(seed).normal(size=len(names)).astype(np.float32)
        table, sidecar = folder / f"{seed}.tsv", folder / f"{seed}.json"
        table.write_text("\t".join(names) + "\n" + "\t".join(f"{v:.8g}" for v in values) + "\n")
        sidecar.write_text(json.dumps(SIDECAR))
        found.append(((table, digest_of(table)), (sidecar, digest_of(sidecar))))
    return found


def digest_of(path: Path) -> Digest:
    return Digest.of(path.read_bytes())


def export(out: Path, what: str, n_scans: int, *words: str) -> dict[str, object]:
    answer = subprocess.run(
        [sys.executable, "-c", EXPORT, out, *words], check=True, capture_output=True, text=True
    )
    measured = json.loads(answer.stdout)
    table = out / "group_desc-scan_embedding.parquet"
    row = {
        "benchmark": "group_export", "what": what, "n_scans": n_scans, **measured,
        "cpu_ms_per_scan": 1e3 * measured["cpu_seconds"] / n_scans,
        "parquet_mb": table.stat().st_size / 2**20,
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    return row


def measure(folder: Path, n_scans: int, *, tsv: bool) -> list[dict[str, object]]:
    shutil.rmtree(folder, ignore_errors=True)
    out = folder / "out"
    write_cohort(out, range(n_scans), write_templates(folder / "templates"))
    rows = [export(out, "first", n_scans), export(out, "again", n_scans)]
    if tsv:
        rows.append(export(out, "as text too", n_scans, "--tsv"))
    shutil.rmtree(folder)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_scans", type=int, nargs="+")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/group_export"))  # noqa: S108
    parser.add_argument("--tsv", action="store_true", help="also measure the text table")
    arguments = parser.parse_args()
    rows = [
        row for n in arguments.n_scans for row in measure(arguments.folder, n, tsv=arguments.tsv)
    ]
    print(
        f"\n{'scans':>7}  {'export':<16} {'wall s':>7} {'CPU s':>7} {'ms/scan':>11} {'peak MB':>8}"
    )
    for row in rows:
        print(
            f"{row['n_scans']:>7}  {row['what']:<16} {row['seconds']:7.1f} "
            f"{row['cpu_seconds']:7.1f} {row['cpu_ms_per_scan']:11.2f} {row['peak_mb']:8.0f}"
        )


if __name__ == "__main__":
    main()
