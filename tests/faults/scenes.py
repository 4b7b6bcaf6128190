"""Where faults are played: small trees with scans to damage, and invocations in processes."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import resource
import shlex
import shutil
import signal
import socket
import sys
import time
import traceback
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import builders
import grayordinate_builders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FIRST, LAST = "0good", "zgood"
"""Two scans without a fault, before and behind the others in every order."""
N_VOLUMES = 100
_SPARE_MIB = 4000
"""Address space of an invocation beyond what it begins with: this machine has other work."""


Images: TypeAlias = Literal["volume", "grayordinates"]


@dataclass(frozen=True, kw_only=True)
class Victim:
    """The files of one scan, which may be damaged."""

    root: Path
    sub: str
    images: Images = "volume"

    @property
    def func(self) -> Path:
        return self.root / f"sub-{self.sub}" / "func"

    def file(self, ending: str) -> Path:
        return self.func / f"sub-{self.sub}_task-rest_{ending}"

    @property
    def bold(self) -> Path:
        if self.images == "grayordinates":
            return self.file("space-fsLR_den-91k_bold.dtseries.nii")
        return self.file(f"space-{builders.SPACE}_desc-preproc_bold.nii.gz")

    @property
    def sidecar(self) -> Path:
        if self.images == "grayordinates":
            return self.file("space-fsLR_den-91k_bold.json")
        return self.file(f"space-{builders.SPACE}_desc-preproc_bold.json")

    @property
    def mask(self) -> Path:
        return self.file(f"space-{builders.SPACE}_desc-brain_mask.nii.gz")

    @property
    def confounds(self) -> Path:
        return self.file("desc-confounds_timeseries.tsv")

    @property
    def confounds_metadata(self) -> Path:
        return self.file("desc-confounds_timeseries.json")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A folder of its own for one invocation: input, output, atlas, checkpoint."""

    here: Path
    atlas: Path
    checkpoint: Path
    images: Images = "volume"

    @property
    def bids(self) -> Path:
        return self.here / "in"

    @property
    def out(self) -> Path:
        return self.here / "out"

    def victim(self, sub: str = FIRST) -> Victim:
        return Victim(root=self.bids, sub=sub, images=self.images)

    def words(self, words: Sequence[str]) -> list[str]:
        places = {
            "bids": self.bids, "out": self.out, "here": self.here,
            "atlas": self.atlas, "checkpoint": self.checkpoint,
        }  # fmt: skip
        return [word.format(**places) for word in words]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How an invocation ended."""

    code: int | None
    """None: it did not end in time"""
    text: str
    """All that it said"""
    seconds: float
    mib: float
    """Memory beyond what it began with"""
    command: str


class Stage:
    """Makes scenes from one prototype, and plays invocations on them.

    Parameters
    ----------
    folder
        An empty folder for everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._n = 0
        self._embedded: dict[tuple[tuple[str, ...], Images], Path] = {}

    @cached_property
    def prototypes(self) -> dict[Images, Victim]:
        data = builders.make_dataset(
            self.folder / "prototype", subjects=("proto",), n_volumes=N_VOLUMES
        )
        (scan,) = data.scans
        scan.boldref.unlink()
        other = self.folder / "grayordinates"
        grayordinate_builders.write_scan(other, "proto", scan, n_volumes=N_VOLUMES)
        return {
            "volume": Victim(root=data.root, sub="proto"),
            "grayordinates": Victim(root=other, sub="proto", images="grayordinates"),
        }

    @cached_property
    def atlas(self) -> Path:
        folder = builders.make_atlas(self.folder / "atlas")
        return grayordinate_builders.make_atlas(folder)

    @cached_property
    def checkpoint(self) -> Path:
        return builders.make_checkpoint(self.folder / "checkpoint")

    def embedded(self, words: tuple[str, ...] = (), images: Images = "volume") -> Path:
        """Return an output folder of the two scans without a fault; do not change it."""
        if (words, images) not in self._embedded:
            scene = self.scene((), images)
            answer = self.play((*PARTICIPANT, *words), scene)
            if answer.code != 0:
                raise RuntimeError(answer.text)
            self._embedded[words, images] = scene.out
        return self._embedded[words, images]

    def scene(self, subs: Sequence[str], images: Images = "volume") -> Scene:
        """Make a scene with the two good scans and others of these labels."""
        self._n += 1
        here = self.folder / f"scene{self._n:04}"
        scene = Scene(here=here, atlas=self.atlas, checkpoint=self.checkpoint, images=images)
        here.mkdir()
        for sub in (FIRST, *subs, LAST):
            self.copy_scan(scene.victim(sub))
        builders.write_description(scene.bids)
        return scene

    def copy_scan(self, victim: Victim) -> None:
        """Lay the prototype's files where a victim's are."""
        victim.func.mkdir(parents=True)
        for path in self.prototypes[victim.images].func.iterdir():
            # With its times: what was written of one copy stands for all.
            shutil.copy2(path, victim.func / path.name.replace("sub-proto", f"sub-{victim.sub}"))

    def play(
        self,
        words: Sequence[str],
        scene: Scene,
        *,
        seconds: float = 60,
        program: str = "semantoks",
        offline: bool = False,
    ) -> Answer:
        """Run a command in a process of its own."""
        arguments = scene.words(words)
        command = shlex.join([program, *arguments])
        log = scene.here / f"said-{time.monotonic_ns()}.txt"
        begun = time.monotonic()
        code, usage = end(begin(program, arguments, log, scene.here, offline=offline), seconds)
        return Answer(
            code=code,
            text=log.read_text(errors="replace"),
            seconds=time.monotonic() - begun,
            mib=usage - _rss_mib(),
            command=command,
        )


PARTICIPANT = (
    "{bids}", "{out}", "participant", "--atlas", "{atlas}", "--checkpoint", "{checkpoint}",
    "--n-cpus", "1", "--no-reports",
)  # fmt: skip
GROUP = ("{bids}", "{out}", "group", "--tsv")


def preload() -> None:
    """Import what invocations need, so that processes begin with it."""
    for name in (
        "bids.layout", "nibabel", "pandas", "torch", "torch._dynamo", "scipy.signal",
        "scipy.interpolate", "scipy.ndimage", "nilearn.glm.first_level", "pyarrow.csv",
        "pyarrow.parquet", "h5py", "matplotlib.figure", "matplotlib.backends.backend_svg",
        "jinja2", "sklearn.linear_model", "bids_app.embedder", "bids_app.group.export",
        "bids_app.participant", "bids_app.report.figures", "bids_app.series.run",
        "model.checkpoint", "model.embed",
    ):  # fmt: skip
        importlib.import_module(name)


def begin(
    program: str, arguments: list[str], log: Path, here: Path, *, offline: bool = False
) -> int:
    """Start a command in a process and a session of its own; return the process id."""
    preload()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        pid = os.fork()
    if pid == 0:
        if offline:
            _forbid_networks()
        _run(program, arguments, log, here)
    return pid


def _run(program: str, arguments: list[str], log: Path, here: Path) -> None:
    """Be the command: never returns."""
    code = 99
    try:
        os.setsid()
        # A shell that runs this in the background has it ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False, errors="backslashreplace")  # noqa: SIM115
        limit = _virtual_bytes() + _SPARE_MIB * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        os.chdir(here)
        warnings.resetwarnings()  # as for a user, not as for tests
        _main(program)(arguments)
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 98
    except BaseException:  # noqa: BLE001 what a user would see, and Python's own exit code
        traceback.print_exc()
        code = 97
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _forbid_networks() -> None:
    """Let whatever would reach for a network raise, and be seen."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was used")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        setattr(socket, name, refuse)


def _main(program: str) -> Callable[[list[str]], object]:
    if program == "semantoks":
        from bids_app.cli.app import main
    else:
        from model.cli.app import main
    return main


def end(pid: int, seconds: float) -> tuple[int | None, float]:
    """Wait for a process; kill its session after that time. Return exit code and peak MiB."""
    deadline = time.monotonic() + seconds
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return (os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024)
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
            return None, usage.ru_maxrss / 1024
        time.sleep(0.005)


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _virtual_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def statuses(out: Path) -> dict[str, dict[str, Any]]:
    """Read all statuses of an output folder, by participant label."""
    found = {}
    for path in sorted(out.glob("sub-*/**/*_status.json")):
        try:
            content = json.loads(path.read_text())
        except (ValueError, OSError) as err:
            content = {"Status": f"not readable: {err}", "Reason": ""}
        found[path.name.partition("_")[0].removeprefix("sub-")] = content
    return found


def written(out: Path, sub: str) -> dict[str, str]:
    """Hash what was written of a participant, by name without its label."""
    folder = out / f"sub-{sub}"
    return {
        path.relative_to(folder).as_posix().replace(f"sub-{sub}", "sub-X"): (
            hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def numbers(hashes: Mapping[str, str]) -> dict[str, str]:
    """Keep the hashes of tables and arrays, which no name or time enters."""
    return {name: sha for name, sha in hashes.items() if not name.endswith(".json")}


Look: TypeAlias = dict[str, tuple[int, ...]]
"""What the file system knows of each path"""


def look(folder: Path) -> Look:
    """Tell files apart by what the file system knows of them; nothing is opened."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        about = path.lstat()
        # The time of a folder changes with its entries, which are seen themselves.
        time_ns = 0 if path.is_dir() else about.st_mtime_ns
        found[str(path)] = (about.st_mode, about.st_size if time_ns else 0, time_ns, about.st_ino)
    return found
