"""Give damaged bytes to every parser of foreign files, and tell what each made of them.

    python tools/fuzz.py MINUTES [--only NAME] [--seed NUMBER] [--keep FOLDER]

MINUTES of processor time are shared by all parsers (`tests/support/parsers.py` lists them). Each
is given valid files of its own, damaged in one place or several; what is damaged how follows from
the seed, the parser's name and the number of the trial, which a finding bears (but for times and
addresses that HDF5 and torch write into two of the valid files: b.h5 and old.pth). A parser may
refuse a file with one of our errors, or accept it; anything else that it raises is foreign, and a
finding, as are more than 5 s of processor time, a minute by the clock, more than 1 GB of memory,
and a process that dies. Findings are written to the folder; small ones stand in tests/fuzz_corpus
from then on, where every run begins.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parsers import Parser

CORPUS = ROOT / "tests" / "fuzz_corpus"
MOST_S, MOST_MB = 5.0, 1000.0
HANGS_S = 60
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 one folder of our own
MOST_WORDS = 2000
"""Letters of a message: a file is never repeated whole"""

_TOKENS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e308", b"-1e308", b"1e999", b"5e-324", b"-0", b"null",
    b"true", b"1" + b"0" * 400, b"1000000000000", b"-1", b"0", b"0x" + b"f" * 300, b'"\\ud800"',
    b"\\udfff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\0", b"\r", b"\r\n", b"\n\n",
    b"\t" * 50, b"," * 50, b'"', b"'", b"[" * 300, b"{" * 300, b"[[]]", b"{}", b"[]", b'""',
    b"../" * 6 + b"etc/passwd", b"/dev/zero", b"n/a", b"=1+1", b"\xf0\x9f\xa7\xa0",
    b"\xe2\x80\xa8", b"x" * 5000, b"1979-05-27", b"inf", b"nan", b"(", b"(?P<", b"*",
)  # fmt: skip
_INTEGERS = (
    0, 1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 10**6, 2**31 - 1, 2**31, 2**32 - 1,
    10**12, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_FLOATS = (float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, 1e30, 0.0, -1.0)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")


def damage(content: bytes, rng: random.Random, *, others: tuple[bytes, ...] = ()) -> bytes:
    """Change bytes in one place or several; what is packed is mostly unpacked for it."""
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.75:
        return gzip.compress(_changed(gzip.decompress(content), rng, ()), 1, mtime=0)
    if content[:2] == b"PK" and rng.random() < 0.75:
        return _damaged_archive(content, rng)
    return _changed(content, rng, others)


def _damaged_archive(content: bytes, rng: random.Random) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        members = old.infolist()
        # Pickles and headers are small, and where structure is.
        chosen = rng.choice(
            sorted(members, key=lambda m: m.file_size)[: max(3, len(members) // 9)]
        )
        for member in members:
            data = old.read(member)
            if member is chosen:
                data = _changed(data, rng, ())
            # A date of its own, and not now: what is damaged how follows from the seed alone.
            packed = zipfile.ZipInfo(member.filename, member.date_time)
            new.writestr(packed, data, member.compress_type)
    return out.getvalue()


def _changed(content: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_CHANGES)(data, rng)
    if others and rng.random() < 0.05:
        other = rng.choice(others)
        data[_place(data, rng) :] = other[_place(bytearray(other), rng) :]
    return bytes(data)


def _place(data: bytearray, rng: random.Random) -> int:
    """Choose a place, more often near the beginning or the end, where structure is."""
    size = max(len(data), 1)
    near = min(size, rng.choice((16, 128, 600, 4096)))
    return rng.choice((rng.randrange(size), rng.randrange(near), size - 1 - rng.randrange(near)))


def _flip(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _set(data: bytearray, rng: random.Random) -> None:
    if data:
        data[_place(data, rng)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))


def _write_number(data: bytearray, rng: random.Random) -> None:
    order = rng.choice("<>")
    if rng.random() < 0.3:
        packed = struct.pack(order + rng.choice("fd"), *_single(rng.choice(_FLOATS)))
    else:
        size = rng.choice((1, 2, 4, 8))
        number = rng.choice(_INTEGERS) * rng.choice((1, 1, -1)) % (1 << 8 * size)
        packed = number.to_bytes(size, "little" if order == "<" else "big")
    at = _place(data, rng) // rng.choice((1, 2, 4)) * 2
    data[at : at + len(packed)] = packed


def _single(value: float) -> tuple[float]:
    return (value if abs(value) < 3e38 or value != value else float("inf"),)


def _delete(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 8, 64, 1000))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + rng.choice((1, 4, 64, 512))] * rng.choice((1, 2, 50))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _extend(data: bytearray, rng: random.Random) -> None:
    data += rng.randbytes(rng.choice((1, 100, 5000))) if rng.random() < 0.5 else bytes(5000)


def _token(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at : at + rng.choice((0, 0, 1, 4))] = rng.choice(_TOKENS)


def _token_for_number(data: bytearray, rng: random.Random) -> None:
    start = _place(data, rng)
    if found := _NUMBER.search(data, start, start + 2000):
        data[found.start() : found.end()] = rng.choice(_TOKENS)


def _swap(data: bytearray, rng: random.Random) -> None:
    a, b, n = _place(data, rng), _place(data, rng), rng.choice((1, 4, 32))
    data[a : a + n], data[b : b + n] = data[b : b + n], data[a : a + n]


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _set, _write_number, _write_number, _delete, _repeat, _cut, _extend, _token,
    _token_for_number, _token_for_number, _swap,
)  # fmt: skip


@dataclass
class Tally:
    """What became of the trials of a parser."""

    name: str
    tried: int = 0
    refused: int = 0
    accepted: int = 0
    foreign: dict[str, int] = field(default_factory=dict)
    """Kind and place of what is no error of ours"""
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    """Memory beyond that of reading the seeds"""
    cpu_s: float = 0.0

    def row(self) -> str:
        """One line of the report."""
        return (
            f"{self.name:24}{self.tried:8}{self.refused:9}{self.accepted:9}"
            f"{sum(self.foreign.values()):8}{self.slowest_s:9.2f}{self.peak_mb:8.0f}"
        )


HEADER = (
    f"{'parser':24}{'tried':>8}{'refused':>9}{'accepted':>9}{'foreign':>8}{'slowest':>9}{'MB':>8}"
)


@dataclass
class Trial:
    """One damaged file."""

    path: Path
    content: bytes
    name: str
    """Under which it is kept if it finds something"""


class Fuzzer:
    """A parser with its valid files in a folder.

    Parameters
    ----------
    parser
        From `parsers.PARSERS`.
    folder
        An empty one.
    seed
        Of the damage.
    """

    def __init__(self, parser: Parser, folder: Path, *, seed: int) -> None:
        self.parser, self.seed = parser, seed
        self.paths = parser.seeds(folder)
        self.valid = {path: path.read_bytes() for path in self.paths}
        for path in self.paths:  # what is valid must pass, or nothing is tested
            parser.read(path)
        self.tally = Tally(parser.name)
        self.base_mb = _peak_mb()

    def kept(self) -> list[Trial]:
        """Files that are tried first: those of the corpus."""
        folder = CORPUS / self.parser.name.replace(" ", "_")
        found = []
        for file in sorted(folder.glob("*")):
            # Named like the file whose place it takes, after a number: 03~a.json.
            name = file.name.partition("~")[2]
            paths = [path for path in self.paths if path.name == name]
            found += [Trial(path, file.read_bytes(), file.name) for path in paths]
        return found

    def trial(self, number: int) -> Trial:
        """Make the damaged file of a number."""
        rng = random.Random(f"{self.seed}/{self.parser.name}/{number}")  # noqa: S311
        path = rng.choice(self.paths)
        content = damage(self.valid[path], rng, others=(*self.valid.values(),))
        return Trial(path, content, f"{number:07d}~{path.name}")

    def trials(self, first: int) -> Iterator[Trial]:
        """Yield the files of the corpus, then damaged ones without end, without the `first`."""
        kept = self.kept()
        yield from kept[first:]
        yield from map(self.trial, itertools.count(max(first - len(kept), 0)))

    def play(self, trial: Trial) -> str:
        """Read a damaged file; return what is wrong with the parser, empty if nothing is."""
        trial.path.write_bytes(trial.content)
        before, finding = time.process_time(), ""
        try:
            finding = self._read(trial.path)
        finally:
            for path, content in self.valid.items():  # a parser may have written others
                if path == trial.path or path.read_bytes() != content:
                    path.write_bytes(content)
        spent, grown = time.process_time() - before, _peak_mb() - self.base_mb
        tally = self.tally
        tally.tried += 1
        tally.slowest_s = max(tally.slowest_s, spent)
        if not finding and spent > MOST_S:
            finding = f"took {spent:.1f} s"
        if not finding and grown > max(MOST_MB, tally.peak_mb):
            finding = f"took {grown:.0f} MB"
        tally.peak_mb = max(tally.peak_mb, grown)
        if finding:
            tally.foreign[finding] = tally.foreign.get(finding, 0) + 1
        return finding

    def _read(self, path: Path) -> str:
        from click import ClickException

        from model.errors import SemantoksError
        from model.files.cells import writable

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.parser.read(path)
        except (SemantoksError, ClickException) as err:
            self.tally.refused += 1
            text = str(err)
            writable(text).encode()
            return f"{len(text)} letters: {text[:80]}" if len(text) > MOST_WORDS else ""
        except _Hang:
            return f"longer than {HANGS_S} s"
        except Exception as err:  # noqa: BLE001 what is looked for
            return _told(err)
        self.tally.accepted += 1
        return ""


def _told(err: Exception) -> str:
    """Name an exception by its kind and the last place of ours that it went through."""
    ours = [f for f in traceback.extract_tb(err.__traceback__) if str(ROOT) in f.filename]
    last = next((f for f in reversed(ours) if "/.venv/" not in f.filename), None)
    where = f"{Path(last.filename).relative_to(ROOT)}:{last.lineno}" if last else "?"
    return f"{type(err).__name__} in {where}: {err!s:.100}"


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Hang(BaseException):
    """A parser that does not end; no Exception, which a parser may make an error of ours."""


def _hang(_signum: int, _frame: object) -> None:
    raise _Hang


def _child(parser: Parser, folder: Path, seed: int, first: int, cpu_s: float, keep: Path) -> None:
    """Play one trial after the other; tell after each, for the process may die in the next."""
    sys.stderr = sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    signal.signal(signal.SIGALRM, _hang)
    fuzzer = Fuzzer(parser, folder / "files", seed=seed)
    n_kept, tally = len(fuzzer.kept()), fuzzer.tally
    for number, trial in enumerate(fuzzer.trials(first), first):
        tally.cpu_s = time.process_time()
        (folder / "told.json").write_text(json.dumps(asdict(tally)))
        if number >= n_kept and tally.cpu_s >= cpu_s:
            break
        (folder / "trial").write_bytes(trial.content)
        (folder / "where").write_text(f"{number} {trial.name}")
        signal.alarm(HANGS_S)
        finding = fuzzer.play(trial)
        signal.alarm(0)
        if finding and tally.foreign[finding] == 1:
            _keep(keep, parser.name, trial.name, trial.content)
    (folder / "done").touch()


def _keep(folder: Path, parser: str, name: str, content: bytes) -> None:
    folder = folder / parser.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def fuzz(parser: Parser, *, seed: int, cpu_s: float, keep: Path) -> Tally:
    """Fuzz a parser in processes of its own."""
    total, first = Tally(parser.name), 0
    context = multiprocessing.get_context("fork")
    while True:
        with tempfile.TemporaryDirectory(prefix="semantoks-fuzz-", dir=_MEMORY) as name:
            folder = Path(name)
            (folder / "files").mkdir()
            left = max(cpu_s - total.cpu_s, 0.0)
            process = context.Process(
                target=_child, args=(parser, folder, seed, first, left, keep)
            )
            process.start()
            while process.is_alive():
                process.join(timeout=1)
                if _stands_still(folder / "where"):  # in a library, which hears no signal
                    process.kill()
            if (folder / "told.json").exists():
                _add(total, json.loads((folder / "told.json").read_text()))
            if (folder / "done").exists() or not (folder / "where").exists():
                if not (folder / "done").exists():
                    total.foreign[f"the seeds cannot be read: exit {process.exitcode}"] = 1
                return total
            number, _, trial = (folder / "where").read_text().partition(" ")
            died = {f"the process died: exit {process.exitcode}": 1}
            _add(total, {"tried": 1, "foreign": died})
            _keep(keep, parser.name, trial, (folder / "trial").read_bytes())
            first = int(number) + 1


def _stands_still(where: Path) -> bool:
    return where.exists() and time.time() - where.stat().st_mtime > 2 * HANGS_S


def _add(total: Tally, told: dict[str, Any]) -> None:
    for key, value in told.items():
        if key == "foreign":
            total.foreign = dict(Counter(total.foreign) + Counter(value))
        elif key in ("slowest_s", "peak_mb"):
            setattr(total, key, max(getattr(total, key), value))
        elif key != "name":
            setattr(total, key, getattr(total, key) + value)


def run(words: list[str] | None = None) -> int:
    """Fuzz all parsers; return 1 where something was found."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("minutes", type=float, help="of processor time, for all together")
    arguments.add_argument("--only", action="append", help="name of a parser; repeatable")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--keep", type=Path, default=Path("fuzz_findings"))
    asked = arguments.parse_args(words)
    from parsers import PARSERS

    chosen = tuple(p for p in PARSERS if not asked.only or p.name in asked.only)
    print(HEADER)
    tallies = []
    cpu_s = 60 * asked.minutes / max(len(chosen), 1)
    for parser in chosen:
        tallies.append(fuzz(parser, seed=asked.seed, cpu_s=cpu_s, keep=asked.keep))
        print(tallies[-1].row(), flush=True)
        for finding, n in tallies[-1].foreign.items():
            print(f"    {n} times: {finding}", flush=True)
    whole = Tally("all")
    for tally in tallies:
        _add(whole, asdict(tally))
    print(whole.row())
    print(f"{whole.cpu_s / 60:.1f} minutes of processor time, seed {asked.seed}")
    if whole.foreign:
        print(f"Findings lie in {asked.keep}.")
    return 1 if whole.foreign else 0


if __name__ == "__main__":
    sys.exit(run())
