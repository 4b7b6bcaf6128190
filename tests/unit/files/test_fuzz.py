"""A short part of `tools/fuzz.py`: the kept files, and a few damaged ones for every parser."""

from __future__ import annotations

import gzip
import io
import os
import random
import signal
import time
import zipfile
from itertools import islice

import pytest
from parsers import PARSERS

from model.files.read import reading
from tools import fuzz as tool
from tools.fuzz import CORPUS, Fuzzer, Trial, damage, fuzz

FEW = {"scan": 4, "pth": 6, "head": 6, "outputs": 8, "tables of a scan": 8}
"""Trials of what takes long; of others 25"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_damaged_files_are_refused_or_read(tmp_path, parser) -> None:
    fuzzer = Fuzzer(parser, tmp_path, seed=2026)
    kept = sorted(path.name for path in (CORPUS / parser.name.replace(" ", "_")).glob("*"))
    assert [trial.name for trial in fuzzer.kept()] == kept
    trials = islice(fuzzer.trials(0), len(kept) + FEW.get(parser.name, 25))
    findings = [f"{trial.name}: {finding}" for trial in trials if (finding := fuzzer.play(trial))]
    assert not findings


def test_every_kept_file_has_its_parser() -> None:
    names = {parser.name.replace(" ", "_") for parser in PARSERS}
    kept = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} <= names
    assert sum(path.stat().st_size for path in kept) < 200_000


class Careless:
    """Reads numbers, waits for what begins with w and dies of what begins with d."""

    name = "careless"

    @staticmethod
    def seeds(folder):
        (folder / "a.txt").write_text("1" * 40)
        return [folder / "a.txt"]

    @staticmethod
    def read(path):
        content = path.read_bytes()
        if content[:1] == b"d":
            os._exit(3)
        if content[:1] == b"w":
            with reading(path):
                time.sleep(20)
        return int(content)


@pytest.fixture
def careless(tmp_path) -> Fuzzer:
    (tmp_path / "f").mkdir()
    return Fuzzer(Careless, tmp_path / "f", seed=1)


def test_damage_follows_from_the_seed_and_what_is_foreign_is_found(tmp_path, careless) -> None:
    assert careless.trial(3).content == careless.trial(3).content != careless.trial(4).content
    path = careless.paths[0]
    assert careless.play(Trial(path, b"x", "x")).startswith("ValueError in tests/unit/files")
    assert path.read_text() == "1" * 40
    found = fuzz(Careless, seed=1, cpu_s=0.3, keep=tmp_path / "kept")
    assert found.tried == found.accepted + sum(found.foreign.values()) > 0
    kept = list((tmp_path / "kept").rglob("*~a.txt"))
    assert 0 < len(kept) <= len(found.foreign)
    for file in kept:  # named by the number that makes it again
        assert careless.trial(int(file.name.partition("~")[0])).content == file.read_bytes()


def test_whoever_waits_is_found_though_our_errors_are_no_finding(careless) -> None:
    before = signal.signal(signal.SIGALRM, tool._hang)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert careless.play(Trial(careless.paths[0], b"w", "w")).startswith("longer than")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert careless.tally.refused == 0


def test_every_file_of_the_corpus_is_played_though_one_kills_the_process(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(tool, "CORPUS", tmp_path / "corpus")
    (tmp_path / "corpus" / "careless").mkdir(parents=True)
    contents = {
        "1~a.txt": b"x",
        "2~a.txt": b"die",
        "3~a.txt": b"y",
        "4~a.txt": b"d",
        "5~a.txt": b"5",
    }
    for name, content in contents.items():
        (tmp_path / "corpus" / "careless" / name).write_bytes(content)
    found = fuzz(Careless, seed=1, cpu_s=0.0, keep=tmp_path / "kept")
    assert (found.tried, found.accepted) == (5, 1)
    assert sum(found.foreign.values()) == 4
    kept = {path.name: path.read_bytes() for path in (tmp_path / "kept" / "careless").iterdir()}
    assert kept == {name: content for name, content in contents.items() if name != "5~a.txt"}
    assert next(iter(Fuzzer(Careless, tmp_path, seed=1).trials(5))).name == "0000000~a.txt"


def _archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a"), b"text " * 99)
    return out.getvalue()


@pytest.mark.parametrize("content", [gzip.compress(b"text " * 99, mtime=0), _archive()])
def test_what_is_packed_again_does_not_tell_the_time(monkeypatch, content) -> None:
    first = [damage(content, random.Random(number)) for number in range(9)]  # noqa: S311
    monkeypatch.setattr(time, "time", lambda: 1e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(10**9))
    assert [damage(content, random.Random(number)) for number in range(9)] == first  # noqa: S311


def test_packed_files_are_damaged_inside() -> None:
    content = gzip.compress(b"text " * 99)
    opened = 0
    for number in range(20):
        changed = damage(content, random.Random(number))  # noqa: S311
        try:
            opened += gzip.decompress(changed) != b"text " * 99
        except Exception:  # noqa: BLE001 the package itself was damaged
            opened += 0
    assert opened > 5
