"""Many scans: speed-up by processes, memory against its estimate, equal bytes; calls of files.

    python benchmarks/processes.py --folder /tmp/extraction --scans 6 --rounds 3
    python benchmarks/processes.py --folder /tmp/extraction --memory
    python benchmarks/processes.py --folder /tmp/calls --calls

The scan is that of extraction.py (97 x 115 x 97 x 300, int16), hard-linked under other labels.
`--memory` runs single scans of several sizes and kinds, each in a process of its own, and prints
what they took above the loaded program beside what bids_app.workers.resources expects.
`--calls` counts, with strace, what one more scan asks of the file system, as the difference of
studies of four and of two small ones, and the files that it leaves. One JSON line each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from extraction import write_study

ROOT = Path(__file__).resolve().parents[1]
SPACE = "MNI152NLin6Asym"
SIZES = [("int16", 150), ("int16", 300), ("int16", 1200), ("float32", 300)]
ONE_SCAN = """
import json, sys
from pathlib import Path
from bids_app.cli.app import main, resolve_options
from bids_app.one_scan import open_pipeline, run_scan
from bids_app.participant import discover
from bids_app.report.page import write_report
from bids_app.workers.resources import REPORT_MB, process_memory_mb, scan_memory_mb
import model.embed, scipy.signal

def status_mb(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

bids, out, atlas = sys.argv[1:]
words = [bids, out, "participant", "--overwrite"]
options = resolve_options(main.make_context("semantoks", words).params)
_, discovery = discover(options)
pipeline = open_pipeline(options, Path(atlas))
pipeline.embedder.encoder
base_mb = status_mb("VmRSS")
scan = discovery.scans[0]
outcome = run_scan(scan, pipeline=pipeline, output_dir=Path(out), log_dir=Path(out, "logs"))
assert outcome.status == "embedded", outcome
scan_mb = status_mb("VmHWM") - base_mb
write_report(Path(out), scan.entities.sub)
print(json.dumps({
    "base_mb": base_mb, "scan_mb": scan_mb, "peak_mb": base_mb + scan_mb,
    "base_expected_mb": process_memory_mb(None),
    "scan_expected_mb": scan_memory_mb(scan.sources.data),
    "with_report_mb": status_mb("VmHWM") - base_mb, "report_expected_mb": REPORT_MB,
}))
"""


CALL = re.compile(r"^(?:\d+ +)?(\w+)\(")
KINDS = {
    "open": "openat", "stat": "newfstatat,stat,lstat,statx,access,faccessat2,readlink,readlinkat",
    "change": "rename,renameat,renameat2,unlink,unlinkat,mkdir,rmdir,link", "fsync": "fsync",
}  # fmt: skip
STEPS = {
    "embed": ["{in}", "{out}", "participant", "--no-reports"],
    "report": ["{in}", "{out}", "participant", "--reports-only"],
    "again": ["{in}", "{out}", "participant"],
    "dry run": ["{in}", "{out}_new", "participant", "--dry-run"],
    "todo": ["todo", "{in}", "{out}"],
    "group": ["{in}", "{out}", "group"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="Where to keep the images.")
    parser.add_argument("--scans", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--calls", action="store_true")
    arguments = parser.parse_args()
    if arguments.calls:
        measure_calls(arguments.folder)
    elif arguments.memory:
        for dtype, frames in SIZES:
            measure_memory(arguments.folder, dtype, frames)
    else:
        measure_speed(arguments)


def measure_memory(folder: Path, dtype: str, frames: int) -> None:
    root = write_study(folder, dtype, frames).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", ONE_SCAN, root, folder / "out_memory", folder / "atlas"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    line = {"benchmark": "memory", "dtype": dtype, "frames": frames}
    found = json.loads(answer.stdout.splitlines()[-1])
    print(json.dumps(line | {key: round(value) for key, value in found.items()}), flush=True)
    shutil.rmtree(folder / "out_memory")


def measure_speed(arguments: argparse.Namespace) -> None:
    folder: Path = arguments.folder
    study = many(write_study(folder, "int16", 300), folder / "many", arguments.scans)
    seconds: dict[int, list[float]] = {n: [] for n in arguments.processes}
    cpu_seconds: dict[int, list[float]] = {n: [] for n in arguments.processes}
    digests = set()
    for _ in range(arguments.rounds):
        for n in arguments.processes:
            out = folder / f"out_{n}"
            command = [
                sys.executable, "-m", "bids_app", study, out, "participant", "--overwrite",
                "--quiet", "--atlas", folder / "atlas", "--n-cpus", str(n),
            ]  # fmt: skip
            begun, cpu_begun = time.perf_counter(), cpu_of_children()
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
            peak_mb = watch(process)
            taken, cpu = time.perf_counter() - begun, cpu_of_children() - cpu_begun
            if process.returncode:
                sys.exit(f"ended with {process.returncode}")
            seconds[n].append(taken)
            cpu_seconds[n].append(cpu)
            digests.add(digest(out))
            line = {"benchmark": "processes", "processes": n, "scans": arguments.scans}
            numbers = {
                "seconds": round(taken, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(peak_mb)
            }  # fmt: skip
            print(json.dumps(line | numbers | {"load": os.getloadavg()[0]}), flush=True)
    print(f"\nall outputs the same bytes: {len(digests) == 1}")
    for n, runs in seconds.items():
        rate = arguments.scans / min(runs) * 3600
        ratio = min(seconds[arguments.processes[0]]) / min(runs)
        cpu = min(cpu_seconds[n])
        print(
            f"{n} processes: {min(runs):.1f} s, {cpu:.1f} s of CPU, {rate:.0f} scans/h, "
            f"{ratio:.2f} times as fast"
        )
    for n in arguments.processes:
        shutil.rmtree(folder / f"out_{n}")


def measure_calls(folder: Path) -> None:
    from bids_app.demo.phantom import make_head, tiny_grid
    from bids_app.demo.tree import write_atlas, write_description, write_scan
    from bids_app.inputs.entities import Entities

    head, entities = make_head(tiny_grid()), Entities(sub="01", task="rest", space=SPACE)
    one = write_scan(folder / "one", head, entities=entities, n_volumes=150, tr_s=2.0)
    write_description(folder / "one")
    write_atlas(folder / "atlas", head, space=SPACE)
    few, more = (calls_of_study(many(one.bold, folder / f"in_{n}", n)) for n in (2, 4))
    for step in STEPS:
        kinds = sorted({*few[step], *more[step]})
        found = {kind: (more[step][kind] - few[step][kind]) / 2 for kind in kinds}
        print(json.dumps({"benchmark": "calls", "step": step} | found), flush=True)
    left = [path for path in (folder / "out_4").rglob("sub-000*") if path.is_file()]
    without_reports = sum(path.parent.name == "func" for path in left)
    line = {"benchmark": "files", "of a scan": len(left), "without reports": without_reports}
    print(json.dumps(line), flush=True)


def calls_of_study(study: Path) -> dict[str, Counter[str]]:
    """Count the calls that name a file of a study or of its outputs, in each step."""
    out = study.with_name(study.name.replace("in_", "out_"))
    shutil.rmtree(out, ignore_errors=True)
    found, log = {}, study.with_name("strace.txt")
    for step, words in STEPS.items():
        named = [word.format(**{"in": study, "out": out}) for word in words]
        program = [sys.executable, "-m", "bids_app", *named]
        if step != "group":
            program += ["--atlas", str(study.with_name("atlas")), "--n-cpus", "1"]
        traced = ["strace", "-f", "-y", "-qq", "-o", log, "-e", ",".join(KINDS.values())]
        subprocess.run([*traced, *program], check=True, capture_output=True, cwd=ROOT)
        lines = log.read_text(errors="replace").splitlines()
        found[step] = Counter(
            kind_of(one) for one in lines if str(study) in one or str(out) in one
        )
    log.unlink()
    return found


def kind_of(line: str) -> str:
    """Name the kind of call of a line of strace."""
    call = CALL.match(line)
    name = call[1] if call else ""
    kind = next((kind for kind, names in KINDS.items() if name in names.split(",")), "other")
    if kind == "stat" and "AT_EMPTY_PATH" in line:  # of what is open: nobody is asked
        return "other"
    if kind != "open":
        return kind
    return "list" if "O_DIRECTORY" in line else "write" if "O_CREAT" in line else "read"


def many(bold: Path, root: Path, n_scans: int) -> Path:
    """Give one scan the labels of many participants."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    shutil.copy(bold.parents[2] / "dataset_description.json", root)
    for number in range(n_scans):
        func = root / f"sub-{number:03d}" / "func"
        func.mkdir(parents=True)
        for path in bold.parent.iterdir():
            os.link(path, func / path.name.replace("sub-01", f"sub-{number:03d}"))
    return root


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def watch(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; return the most that it and its children took (shared pages once)."""
    most_kb = 0
    while process.poll() is None:
        most_kb = max(most_kb, sum(pss_kb(pid) for pid in family(process.pid)))
        time.sleep(0.1)
    return most_kb / 1024


def family(pid: int) -> list[int]:
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in words for one in family(int(child)))]


def pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def digest(out: Path) -> str:
    """Hash names and contents of all outputs but the logs."""
    found = hashlib.sha256()
    for path in sorted(out.rglob("*")):
        relative = path.relative_to(out)
        if path.is_file() and relative.parts[0] != "logs":
            found.update(str(relative).encode() + path.read_bytes())
    return found.hexdigest()


if __name__ == "__main__":
    main()
