"""A short part of `tools/fuzz.py`: the kept files, and a few damaged ones for every parser."""

from __future__ import annotations

import pytest
from parsers import PARSERS

from tools.fuzz import CORPUS, Fuzzer, Trial, damage, fuzz

FEW = {"scan": 4, "pth": 6, "head": 6, "outputs": 8, "tables of a scan": 8}
"""Trials of what takes long; of others 25"""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_damaged_files_are_refused_or_read(tmp_path, parser) -> None:
    fuzzer = Fuzzer(parser, tmp_path, seed=2026)
    trials = [*fuzzer.kept(), *map(fuzzer.trial, range(FEW.get(parser.name, 25)))]
    findings = [finding for trial in trials if (finding := fuzzer.play(trial))]
    assert not findings


def test_every_kept_file_is_tried() -> None:
    names = {parser.name.replace(" ", "_") for parser in PARSERS}
    kept = list(CORPUS.rglob("*~*"))
    assert {path.parent.name for path in kept} <= names
    assert sum(path.stat().st_size for path in kept) < 200_000


def test_damage_follows_from_the_seed_and_what_is_foreign_is_found(tmp_path) -> None:
    class Careless:
        name = "careless"

        @staticmethod
        def seeds(folder):
            (folder / "a.txt").write_text("1" * 40)
            return [folder / "a.txt"]

        @staticmethod
        def read(path):
            return int(path.read_bytes())

    (tmp_path / "f").mkdir()
    fuzzer = Fuzzer(Careless, tmp_path / "f", seed=1)
    assert fuzzer.trial(3).content == fuzzer.trial(3).content != fuzzer.trial(4).content
    assert fuzzer.play(Trial(fuzzer.paths[0], b"x")).startswith("ValueError in tests/unit/files")
    assert fuzzer.paths[0].read_text() == "1" * 40
    found = fuzz(Careless, seed=1, cpu_s=0.3, keep=tmp_path / "kept")
    assert found.tried == found.accepted + sum(found.foreign.values()) > 0
    assert found.foreign
    assert list((tmp_path / "kept").rglob("*~a.txt"))


def test_packed_files_are_damaged_inside() -> None:
    import gzip
    import random

    content = gzip.compress(b"text " * 99)
    opened = 0
    for number in range(20):
        changed = damage(content, random.Random(number))  # noqa: S311
        try:
            opened += gzip.decompress(changed) != b"text " * 99
        except Exception:  # noqa: BLE001 the package itself was damaged
            opened += 0
    assert opened > 5
