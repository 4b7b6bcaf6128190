"""An invocation that is killed at a chosen step: before the n-th thing that it does to a file.

``python killed.py FOLDER`` kills one at every step there is and prints how many there were; it
forks, so it is a program of its own, without threads.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from outputs import contents

from bids_app.inputs.entities import Entities
from bids_app.inputs.scan import Scan, Sources
from bids_app.invocation import run_scans
from bids_app.outputs.paths import find_statuses, output_path
from bids_app.outputs.status import finished, input_fingerprint, unchanged, write_outcome
from model.cohort.record import read_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from bids_app.outputs.status import ScanOutcome

CHANGES = (
    "open",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "fcntl.flock",
    "shutil.rmtree",
)
ENDINGS = ("coverage.tsv", "desc-scan_embedding.tsv")
OPTIONS = SimpleNamespace(
    n_cpus=1, memory_mb=4000.0, checkpoint=None, overwrite=False, stop_on_first_crash=False,
    reports="none", config="",
)  # fmt: skip


def make_scan(root: Path, sub: str) -> Scan:
    image = root / f"sub-{sub}_task-rest_bold.nii.gz"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(b"image")
    entities = Entities(sub=sub, task="rest")
    return Scan(name=entities.stem(), entities=entities, sources=Sources(data=image), root=root)


def embed(scan: Scan, *, settings: str, output_dir: Path, log_dir: Path) -> ScanOutcome:  # noqa: ARG001
    files = {
        output_path(output_dir, scan.entities, ending): f"{settings} {ending}\n".encode()
        for ending in ENDINGS
    }
    inputs = input_fingerprint(scan)
    return write_outcome(
        output_dir, scan, "embedded", configuration=settings, inputs=inputs, files=files
    )


def earlier(scan: Scan, *, settings: str, output_dir: Path) -> ScanOutcome | None:
    record = finished(output_dir, scan)
    if record is None or record.configuration != settings:
        return None
    return unchanged(output_dir, scan, record, check="time")


def invoke(scans: list[Scan], output_dir: Path, settings: str) -> None:
    run_scans(
        scans, output_dir, OPTIONS,
        embed=partial(embed, settings=settings),
        earlier=partial(earlier, settings=settings, output_dir=output_dir),
        settings=lambda _: {"settings": settings},
    )  # fmt: skip


def killed_at(step: int, folder: Path, work: Callable[[], Any]) -> bool:
    """Do some work in a process that is killed at a step; False: it had fewer."""
    child = os.fork()
    if child == 0:
        left = step

        def hook(event: str, words: tuple[Any, ...]) -> None:
            nonlocal left
            concerned = event == "fcntl.flock" or str(folder) in str(words[0])
            if event in CHANGES and concerned:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return status == signal.SIGKILL


def whole(folder: Path) -> dict[str, bytes]:
    """Return all files but the logs; what is left there under a temporary name is there too."""
    found = (folder / "logs").rglob("*.part")
    left = {path.name: b"" if path.is_dir() else path.read_bytes() for path in found}
    return contents(folder) | left


def no_status_lies(output_dir: Path) -> None:
    for path in find_statuses(output_dir):
        record = read_record(path)
        assert record.differing(path.parent) == [], path
        for name in record.outputs:
            assert path.with_name(name).read_text().startswith(record.configuration), path


def main(folder: Path) -> None:
    """Kill an invocation with settings B at every step, upon nothing and upon settings A."""
    scans = [make_scan(folder / "in", sub) for sub in ("01", "02")]
    expected = {}
    for settings in "AB":
        invoke(scans, folder / settings, settings)
        expected[settings] = whole(folder / settings)
    (folder / "nothing").mkdir()
    for before in ("nothing", "A"):
        step = 0
        while True:
            step += 1
            out = folder / "out"
            shutil.copytree(folder / before, out)
            was_killed = killed_at(step, out, partial(invoke, scans, out, "B"))
            no_status_lies(out)
            if not was_killed:
                assert whole(out) == expected["B"]
                shutil.rmtree(out)
                break
            for settings in "AB":
                again = folder / "again"
                shutil.copytree(out, again)
                invoke(scans, again, settings)
                assert whole(again) == expected[settings], (before, step, settings)
                shutil.rmtree(again)
            shutil.rmtree(out)
        sys.stdout.write(f"{step - 1}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
