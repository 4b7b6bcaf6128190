"""Kill, crowd and starve invocations, start them again, and compare bytes with an undisturbed one.

    python tools/kill_campaign.py [PART ...] [--kills 100] [--scans 2000] [--n-cpus 1] [--seed N]

Parts: signals (SIGTERM, SIGINT, SIGKILL at random moments, 1 and 2 processes), together (8
processes on one output), disk (a full one), worker (a killed one), many (2,000 scans, 5 % of them
broken, killed once). All is simulated and tiny. Exit code 1 if anything was not as promised.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "support"), str(ROOT)]

from campaign import all_faults  # noqa: E402
from faults import ScanFault  # noqa: E402
from scenes import FIRST, PARTICIPANT, Scene, Stage, begin, end, statuses  # noqa: E402

from model.cohort.record import read_record  # noqa: E402
from model.files.faults import FileError  # noqa: E402

SUBJECTS = ("a", "b")
"""Beside the two that every scene has"""
CODES = {signal.SIGTERM: {143}, signal.SIGINT: {130}, signal.SIGKILL: {-9, 137}}
_SLOWEST_S = 120.0


@dataclass
class Tally:
    """What was tried of one part, and what was not as promised."""

    name: str
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, faults: list[str]) -> None:
        self.tried += 1
        if faults:
            self.lost.append("; ".join(faults))
            print(f"LOST {self.name} {self.tried}: {self.lost[-1]}", flush=True)


def contents(out: Path) -> dict[str, str]:
    """Hash every file of an output folder but logs."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "logs" not in path.relative_to(out).parts
    }


def other_bytes(normal: dict[str, str], out: Path) -> list[str]:
    """Name files that an undisturbed invocation has otherwise, or not, or that are missing."""
    now = contents(out)
    differing = sorted(name for name in {*normal, *now} if normal.get(name) != now.get(name))
    return [f"other bytes: {differing[:4]}"] if differing else []


def untrue(out: Path) -> list[str]:
    """Name the statuses that do not tell the truth about the files beside them."""
    found = []
    for path in out.glob("sub-*/**/*_status.json"):
        try:
            differing = read_record(path).differing(path.parent)
        except FileError as fault:
            found.append(str(fault))
        else:
            found += [f"{name} is not what its status says" for name in differing]
    return found


def leftovers(out: Path) -> list[str]:
    return [f"left behind: {path.relative_to(out)}" for path in out.rglob("*.part")]


def start(scene: Scene, n_processes: int, *more: str) -> subprocess.Popen[bytes]:
    """Start a real process, in a session of its own."""
    given = [*PARTICIPANT, "--n-cpus", str(n_processes), *more]  # the last of a kind counts
    return subprocess.Popen(
        [sys.executable, "-m", "bids_app", *scene.words(given)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=(scene.here / "said.txt").open("ab"),
        start_new_session=True,
        # A shell that runs this in the background has it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def again(stage: Stage, scene: Scene, normal: dict[str, str]) -> list[str]:
    """Start an invocation again; say what is not as if nothing had happened."""
    answer = stage.play(PARTICIPANT, scene, seconds=_SLOWEST_S)
    faults = other_bytes(normal, scene.out) + leftovers(scene.out)
    if answer.code != 0:
        faults.append(f"started again: exit code {answer.code}: {answer.text[-300:]}")
    return faults


def alive(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            state, _, _, its = path.read_text().rpartition(")")[2].split()[:4]
            if int(its) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def until_gone(session: int, seconds: float = 30) -> list[str]:
    deadline = time.monotonic() + seconds
    while alive(session):
        if time.monotonic() > deadline:
            return [f"processes that did not end: {alive(session)}"]
        time.sleep(0.05)
    return []


def mistold(scene: Scene, code: int | None, number: signal.Signals, moment: float) -> list[str]:
    """Say how an invocation that was at work ended otherwise than it should."""
    said = (scene.here / "said.txt").read_text(errors="replace")
    after = f"after {number.name} at {moment:.2f} s"
    faults = []
    if code not in CODES[number] and code not in (0, -number):  # done, or hardly begun
        faults.append(f"exit code {code} {after}: {said[-300:]}")
    if "Traceback (most" in said:
        faults.append(f"a traceback {after}")
    return faults


def begin_one(scene: Scene, log: str = "said.txt") -> int:
    """Start an invocation without imports of its own; return its process id."""
    return begin("semantoks", scene.words(PARTICIPANT), scene.here / log, scene.here)


def kill_once(
    stage: Stage, normal: dict[str, str], number: signal.Signals, n_processes: int, moment: float
) -> tuple[list[str], bool]:
    """Kill an invocation at a moment, start it again, compare. False: it had ended before."""
    scene = stage.scene(SUBJECTS)
    to_all = n_processes > 1 and random.random() < 0.5  # noqa: S311 as a terminal does
    process = start(scene, n_processes) if n_processes > 1 else None
    pid = process.pid if process else begin_one(scene)
    time.sleep(moment)
    met = True
    try:
        (os.killpg if to_all else os.kill)(pid, number)
    except ProcessLookupError:
        met = False
    code = process.wait(_SLOWEST_S) if process else end(pid, _SLOWEST_S)[0]
    faults = until_gone(pid)
    if scene.out.exists():
        faults += mistold(scene, code, number, moment)
        faults += untrue(scene.out)
        if number != signal.SIGKILL:
            faults += leftovers(scene.out)
    faults += again(stage, scene, normal)
    if faults:
        faults.append(f"in {scene.here}")
    else:
        shutil.rmtree(scene.here)
    return faults, met and code != 0


def signals(stage: Stage, n_kills: int) -> list[Tally]:
    normal = undisturbed(stage)
    tallies = []
    for n_processes in (1, 2):
        lasts = duration(stage, n_processes)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            tally = Tally(f"{number.name}, {n_processes} process{'es' * (n_processes > 1)}")
            n_met = 0
            for _ in range(n_kills):
                moment = random.uniform(0, lasts)  # noqa: S311
                faults, met = kill_once(stage, normal, number, n_processes, moment)
                n_met += met
                tally.count(faults)
            tally.notes.append(f"{n_met} met it at work, of {lasts:.1f} s")
            tallies.append(tally)
            print_table([tally])
    return tallies


def undisturbed(stage: Stage) -> dict[str, str]:
    scene = stage.scene(SUBJECTS)
    stage.play(PARTICIPANT, scene, seconds=_SLOWEST_S)
    return contents(scene.out)


def duration(stage: Stage, n_processes: int) -> float:
    """Return how long an invocation takes when nobody disturbs it."""
    scene = stage.scene(SUBJECTS)
    if n_processes == 1:
        return stage.play(PARTICIPANT, scene, seconds=_SLOWEST_S).seconds
    begun = time.monotonic()
    start(scene, n_processes).wait(_SLOWEST_S)
    return time.monotonic() - begun


def together(stage: Stage, n: int = 8) -> list[Tally]:
    """Start as many invocations at once on one output."""
    tally = Tally(f"{n} processes on one output")
    normal = undisturbed(stage)
    for _ in range(3):
        scene = stage.scene(SUBJECTS)
        pids = [begin_one(scene, f"said-{number}.txt") for number in range(n)]
        codes = [end(pid, _SLOWEST_S)[0] for pid in pids]
        faults = [] if set(codes) == {0} else [f"exit codes {codes}: {scene.here}"]
        faults += other_bytes(normal, scene.out)
        tally.count(faults + leftovers(scene.out) + untrue(scene.out))
    return [tally]


def disk(stage: Stage) -> list[Tally]:
    """Give the output folder a disk that is too small, then room."""
    tally = Tally("full disk")
    normal = undisturbed(stage)
    sizes = (16, 64, 200, 400, 800, 1200, 1600, 2000, 2600, 3200, 4000)
    for size_kib in sizes:
        scene = stage.scene(SUBJECTS)
        scene.out.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(scene.out)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            tally.notes.append("no tmpfs may be mounted here: not tried")
            break
        try:
            answer = stage.play(PARTICIPANT, scene, seconds=_SLOWEST_S)
            faults = [] if answer.code == 73 else [f"exit code {answer.code}"]
            if "No space left" not in answer.text and "cannot be written" not in answer.text:
                faults.append("not said")
            faults = [f"{size_kib} KiB: {fault}: {answer.text[-300:]}" for fault in faults]
            faults += leftovers(scene.out) + untrue(scene.out)
            subprocess.run(["mount", "-o", "remount,size=64m", str(scene.out)], check=True)
            faults += again(stage, scene, normal)
            tally.count(faults)
        finally:
            subprocess.run(["umount", "-l", str(scene.out)], check=False)
    return [tally]


def worker(stage: Stage, n_kills: int) -> list[Tally]:
    """Kill one of two processes that share the work."""
    tally = Tally("killed worker")
    normal = undisturbed(stage)
    for _ in range(n_kills):
        scene = stage.scene(SUBJECTS)
        process = start(scene, 2)
        killed = None
        patience = random.uniform(0.0, 2.0)  # noqa: S311
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            ours = [pid for pid in alive(process.pid) if pid != process.pid]
            ours = [pid for pid in ours if b"spawn_main" in cmdline(pid)]
            if len(ours) == 2:
                time.sleep(patience)
                killed = random.choice(ours)  # noqa: S311
                with contextlib.suppress(ProcessLookupError):
                    os.kill(killed, signal.SIGKILL)
                break
            time.sleep(0.01)
        code = process.wait(_SLOWEST_S)
        faults = until_gone(process.pid)
        said = (scene.here / "said.txt").read_text(errors="replace")
        ended = [status["Status"] for status in statuses(scene.out).values()]
        if code == 1:
            if len(ended) != 4 or ended.count("failed") > 1:
                faults.append(f"more than one scan was lost: {ended}")
        elif code not in (0, 78):  # 78: the first process was killed before any came up
            faults.append(f"exit code {code}: {said[-300:]}")
        faults += untrue(scene.out) + leftovers(scene.out)
        faults += again(stage, scene, normal)
        tally.count([*faults, str(scene.here)] if faults else [])
        if not faults:
            shutil.rmtree(scene.here)
    return [tally]


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def many(stage: Stage, n_scans: int, n_processes: int) -> list[Tally]:
    """Embed many scans, one in twenty of them broken; kill it half-way, start it again."""
    tally = Tally(f"{n_scans} scans, 5 % broken")
    labels = [f"m{number:05}" for number in range(n_scans - 2)]
    scene = stage.scene(labels)
    faults = [
        fault
        for fault in all_faults()
        if isinstance(fault, ScanFault)
        and not fault.alone
        and not fault.words
        and fault.promise.statuses == {"failed"}
        and fault.name.startswith(("image/bold/", "json/sidecar/", "confounds/file/"))
    ]
    broken = labels[::20]
    for number, label in enumerate(broken):
        faults[number % len(faults)].damage(scene.victim(label))
    begun = time.monotonic()
    first = start(scene, n_processes, "-q")
    while len(list(scene.out.glob("sub-*/func/*_status.json"))) < n_scans // 2:
        if first.poll() is not None:
            break
        time.sleep(1)
    first.send_signal(signal.SIGKILL)
    first.wait()
    problems = until_gone(first.pid)
    n_before = len(list(scene.out.glob("sub-*/func/*_status.json")))
    second = start(scene, n_processes, "-q")
    samples: list[tuple[float, int]] = []
    while second.poll() is None:
        samples.append(usage(second.pid))
        time.sleep(1)
    seconds = time.monotonic() - begun
    ended = statuses(scene.out)
    named = {label for label in broken if ended.get(label, {}).get("Status") == "failed"}
    done = {label for label, status in ended.items() if status["Status"] == "embedded"}
    problems += [f"exit code {second.returncode}"] if second.returncode != 1 else []
    problems += [f"not named: {sorted(set(broken) - named)[:5]}"] if set(broken) - named else []
    good = {*labels, FIRST} - set(broken)
    problems += [f"not done: {sorted(good - done)[:5]}"] if good - done else []
    bare = [label for label in named if label not in str(ended[label]["Reason"])]
    problems += [f"reason without the file: {bare[:5]}"] if bare else []
    unforeseen = [label for label in named if "unexpected" in str(ended[label]["Reason"])]
    problems += [f"unexpected: {unforeseen[:5]}"] if unforeseen else []
    problems += leftovers(scene.out) + untrue(scene.out)[:5]
    tally.count(problems)
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    tally.notes += [
        f"{len(good)} good done, {len(named)} of {len(broken)} broken named, killed at {n_before}",
        f"{seconds:.0f} s in all, {n_processes} process(es)",
        f"memory of all processes: {max(m for m, _ in early):.0f} MiB in the second quarter, "
        f"{max(m for m, _ in late):.0f} in the last",
        f"handles: {median(h for _, h in early)} and {median(h for _, h in late)} (medians)",
    ]
    return [tally]


def usage(session: int) -> tuple[float, int]:
    """Return memory in MiB, and open handles, of all processes of a session."""
    pages, handles = 0, 0
    for pid in alive(session):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            handles += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, handles


def print_table(tallies: list[Tally]) -> None:
    for tally in tallies:
        print(
            f"{tally.name:<32}{tally.tried:>5} tried{len(tally.lost):>4} lost   "
            f"{'; '.join(tally.notes)}",
            flush=True,
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--scans", type=int, default=2000)
    parser.add_argument("--n-cpus", type=int, default=1)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed  # noqa: S311
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    tallies: list[Tally] = []
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        parts = {
            "signals": lambda: signals(stage, options.kills),
            "together": lambda: together(stage),
            "disk": lambda: disk(stage),
            "worker": lambda: worker(stage, max(1, options.kills // 5)),
            "many": lambda: many(stage, options.scans, options.n_cpus),
        }
        for name in options.parts or parts:
            tallies += parts[name]()
    print()
    print_table(tallies)
    return int(any(tally.lost for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
