"""The group level on a synthetic cohort: CPU, memory and bytes of each of its files.

    python benchmarks/group_export.py 12 2000 10000 [--folder /tmp/group_export]
    python benchmarks/group_export.py 100000 --only table text

The files of a scan are those that the app writes of one simulated scan (300 volumes, bundled
weights); embeddings are varied over 5,000 templates, more than a row group holds, windows and
tokens over 500, and all are hard links, so that 100,000 scans take 1 GB of disk. What is measured
is thus work and system calls from the page cache, not a disk. Each export runs in a process of its
own, without the files of the others, which it would read to tell whether they are up to date;
what reading the cohort once more takes is its row "again". Of all exports at once, 10,000 scans
take 10 GB; matrices, 2.5 MB a scan, are best measured of fewer. Prints one JSON line per export,
then a table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bids_app.demo.phantom import make_head, tiny_grid
from bids_app.demo.tree import write_atlas, write_description, write_scan
from bids_app.inputs.entities import Entities
from model.cohort.names import SCAN, TOKENS, WINDOWS
from model.cohort.record import ScanRecord, read_record
from model.files.write import Digest

SPACE, SUB = "MNI152NLin6Asym", "template"
N_TEMPLATES = {f"{SCAN}.tsv": 5000, f"{WINDOWS}.tsv": 500, f"{TOKENS}.npy": 500}
EXPORTS = {
    "table": [],
    "again": [],
    "text": ["tsv"],
    "windows": ["windows"],
    "windows, arrays": ["windows", "npz"],
    "tokens": ["tokens"],
    "tokens, arrays": ["tokens", "npz"],
    "AnnData": ["anndata"],
    "harmonized": ["harmonize"],
    "page": ["page"],
    "connectivity": ["connectivity"],
}
"""Options by name; what reads the scans' files is measured last."""
HEADS = {
    "seconds": "wall s", "cpu_seconds": "CPU s", "cpu_ms_per_scan": "CPU ms", "peak_mb": "peak MB",
    "kb_per_scan": "kB",
}  # fmt: skip
"""Heading of the table's columns; the third and the last are for each scan"""
EXPORT = """
import json, resource, sys, time
from pathlib import Path
from bids_app.group.export import export_group
from bids_app.group.options import GroupOptions
out, *words = sys.argv[1:]
options = {word: True for word in words if word not in ("page", "harmonize")}
if "harmonize" in words:
    options |= {"harmonize": "site", "participants": Path(out, "people.tsv")}
begun = time.perf_counter(), time.process_time()
export_group(Path(out), GroupOptions(**options), page="page" in words)
print(json.dumps({
    "seconds": time.perf_counter() - begun[0], "cpu_seconds": time.process_time() - begun[1],
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


@dataclass(frozen=True, kw_only=True)
class Template:
    """Content of one file of a scan, and what its status says of it."""

    path: Path
    digest: Digest

    @classmethod
    def of(cls, path: Path) -> Template:
        return cls(path=path, digest=Digest.of(path.read_bytes()))


@dataclass(frozen=True, kw_only=True)
class Templates:
    """The scan that the cohort is made of."""

    record: ScanRecord
    files: dict[str, list[Template]]
    """By ending of the name; scans take turns"""


def make_templates(folder: Path) -> Templates:
    """Embed one simulated scan; vary what the group level reads of it."""
    shutil.rmtree(folder, ignore_errors=True)
    head, entities = make_head(tiny_grid()), Entities(sub=SUB, task="rest", space=SPACE)
    write_scan(folder / "in", head, entities=entities, n_volumes=300, tr_s=2.0)
    write_description(folder / "in")
    write_atlas(folder / "atlas", head, space=SPACE)
    command = [
        sys.executable, "-m", "bids_app", folder / "in", folder / "one", "participant",
        "--no-reports", "--quiet", "--atlas", folder / "atlas", "--n-cpus", "1",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    (status,) = (folder / "one" / f"sub-{SUB}" / "func").glob("*_status.json")
    record, stem = read_record(status), status.name.removesuffix("status.json")
    files = {name.removeprefix(stem): status.with_name(name) for name in record.outputs}
    return Templates(
        record=record,
        files={
            ending: varied(path, folder / "varied", n)
            if (n := N_TEMPLATES.get(ending))
            else [Template.of(path)]
            for ending, path in files.items()
        },
    )


def varied(path: Path, folder: Path, n: int) -> list[Template]:
    """Write a file of numbers `n` times, with noise of its own each time."""
    folder.mkdir(exist_ok=True)
    found = []
    for seed in range(n):
        rng, new = np.random.default_rng(seed), folder / f"{seed}_{path.name}"
        if path.suffix == ".npy":
            values = np.load(path)
            np.save(new, values + rng.standard_normal(values.shape, np.float32))
        else:
            header, *rows = path.read_text().splitlines()
            new.write_text("\n".join([header, *(_noisy(row, rng) for row in rows)]) + "\n")
        found.append(Template.of(new))
    return found


def _noisy(row: str, rng: np.random.Generator) -> str:
    """Add noise to the numbers of an embedding; onset, duration and the like stay."""
    cells = row.split("\t")
    n_others = len(cells) % 256
    numbers = np.array(cells[n_others:], float)
    numbers += rng.standard_normal(len(numbers)) * (numbers != 0)
    return "\t".join([*cells[:n_others], *(f"{value:.8g}" for value in numbers)])


def write_cohort(out: Path, n_scans: int, templates: Templates) -> None:
    """Give the scan the labels of many participants."""
    rng = np.random.default_rng(0)
    people = ["participant_id\tsite"]
    for number in range(n_scans):
        sub = f"{number:06d}"
        people.append(f"sub-{sub}\t{'abcd'[number % 4]}")
        folder = out / f"sub-{sub}" / "func"
        folder.mkdir(parents=True)
        outputs, stem = {}, f"sub-{sub}_task-rest_space-{SPACE}_atlas-Semantoks457"
        for ending, files in templates.files.items():
            template = files[number % len(files)]
            os.link(template.path, folder / f"{stem}_{ending}")
            outputs[f"{stem}_{ending}"] = template.digest
        numbers = {
            key: value * rng.uniform(0.8, 1.2) if isinstance(value, float) else value
            for key, value in templates.record.qc.items()
        }
        entities = {**templates.record.entities, "sub": sub}
        record = replace(templates.record, entities=entities, outputs=outputs, qc=numbers)
        (folder / f"{stem}_status.json").write_text(json.dumps(record.as_json(), indent=2))
    (out / "people.tsv").write_text("\n".join(people) + "\n")


def export(out: Path, what: str, n_scans: int) -> dict[str, object]:
    before = set(out.glob("group*"))
    command = [sys.executable, "-c", EXPORT, out, *EXPORTS[what]]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = json.loads(answer.stdout)
    new = [path for path in out.glob("group*") if path not in before]
    if what == "connectivity":
        new = [*out.glob("sub-*/func/*relmat.*")]
    row = {
        "benchmark": "group_export", "what": what, "n_scans": n_scans, **measured,
        "cpu_ms_per_scan": 1e3 * measured["cpu_seconds"] / n_scans,
        "kb_per_scan": sum(path.stat().st_size for path in new) / 1e3 / n_scans,
    }  # fmt: skip
    print(json.dumps(row), flush=True)
    if what != "table":
        for path in new:
            path.unlink()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_scans", type=int, nargs="+")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/group_export"))  # noqa: S108
    parser.add_argument("--only", nargs="+", choices=[*EXPORTS], default=[*EXPORTS])
    arguments = parser.parse_args()
    templates = make_templates(arguments.folder / "templates")
    rows = []
    for n_scans in arguments.n_scans:
        out = arguments.folder / "out"
        write_cohort(out, n_scans, templates)
        rows += [export(out, what, n_scans) for what in arguments.only]
        shutil.rmtree(out)
    shutil.rmtree(arguments.folder)
    print(f"\n{'scans':>7}  {'export':<16}" + "".join(f"{head:>9}" for head in HEADS.values()))
    for row in rows:
        cells = "".join(f"{row[key]:9.1f}" for key in HEADS)
        print(f"{row['n_scans']:>7}  {row['what']:<16}{cells}")


if __name__ == "__main__":
    main()
