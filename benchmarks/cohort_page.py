"""The page of a simulated cohort: seconds, memory and size against its number of scans.

    python benchmarks/cohort_page.py 2000 10000 [--umap] [--folder /tmp/cohort_page]

Embeddings of 4,096 numbers, as those of the bundled weights, two sessions of everybody. Each
page is made in a process of its own, and stays in the folder to be opened.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from cohorts import embeddings, page_scans

from bids_app.cohort_page.page import write_cohort_page

DIM = 4096


def measure(folder: Path, n_scans: int, *, with_umap: bool) -> dict[str, float]:
    scans, vectors = page_scans(n_scans // 2), embeddings(n_scans // 2, dim=DIM)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun = time.perf_counter(), time.process_time()
    path = write_cohort_page(folder, scans, [vectors], with_umap=with_umap)
    first = time.perf_counter() - begun[0], time.process_time() - begun[1]
    again = time.perf_counter()
    write_cohort_page(folder, scans, [vectors], with_umap=with_umap)
    return {
        "n_scans": n_scans, "seconds": first[0], "cpu_seconds": first[1],
        "again_seconds": time.perf_counter() - again, "before_mb": before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "page_mb": path.stat().st_size / 1e6 if path else 0,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_scans", type=int, nargs="+")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/cohort_page"))  # noqa: S108
    parser.add_argument("--umap", action="store_true")
    arguments = parser.parse_args()
    if len(arguments.n_scans) == 1:
        n_scans = arguments.n_scans[0]
        folder = arguments.folder / str(n_scans)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "group.html").unlink(missing_ok=True)
        print(json.dumps(measure(folder, n_scans, with_umap=arguments.umap)))
        return
    words = ["--folder", str(arguments.folder), *["--umap"] * arguments.umap]
    for n_scans in arguments.n_scans:
        subprocess.run([sys.executable, __file__, str(n_scans), *words], check=True)


if __name__ == "__main__":
    main()
