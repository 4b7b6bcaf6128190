"""What the group level writes of one kind of scans, each only where it is not there already."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bids_app import __version__
from bids_app.files import replacing, write_bytes
from bids_app.group.annotated import write_annotated
from bids_app.group.connectivity import has_connectivity, write_connectivity
from bids_app.group.harmonized import write_harmonized
from bids_app.group.pieces import grid_of, tokens_of, windows_of, write_npz, write_pieces
from bids_app.group.table import constant_columns, write_embedding_table, write_tsv
from bids_app.outputs.group import OF_TOKEN, OF_WINDOW, describe_scan_table, table_name
from bids_app.outputs.paths import refuse_links_out
from model.cohort.names import HARMONIZED, MATRIX, SCAN, TOKENS, WINDOWS
from model.errors import numbered
from model.files.faults import FileError
from model.files.read import read_json
from model.files.write import Digest, file_sha256, stamp, text_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bids_app.group.cohort import Cohort, Kind
    from bids_app.group.harmonized import Design
    from bids_app.group.options import GroupOptions

    Writers = Mapping[str, Callable[[Path], Any]]

log = logging.getLogger(__name__)


_SUFFIXES = (".parquet", ".tsv", ".npz")
"""Forms of a table"""


class _Step(NamedTuple):
    """A table in its forms, with the sidecar that says what they are of."""

    ending: str
    """Of their names"""
    writers: Writers
    """By suffix, the table itself first"""
    said: Mapping[str, Any]
    """What its sidecar says of it alone, once it is written"""
    asked: object = None
    """Options that its numbers depend on"""
    columns: tuple[str, ...] = ()
    """Of its own, beside those of scans"""


@dataclass(frozen=True, kw_only=True)
class Products:
    """The files of one kind of scans."""

    cohort: Cohort
    kind: Kind
    target: Path
    space: str | None
    """In the names; None: all scans are of one table"""
    options: GroupOptions
    design: Design | None
    """What sites are taken out by; None: they are not"""
    n_damaged: int

    def write(self) -> list[Path]:
        """Write all that is asked for; what is there and of the same scans stays untouched.

        Returns
        -------
        Their paths, the table of embeddings first.
        """
        paths = [path for step in self._steps() for path in self._make(step)]
        if self.options.anndata:
            paths += self._annotated()
        if self.options.connectivity:
            self._connectivity()
        return paths

    def preview(self) -> Iterator[tuple[Path, bool]]:
        """Yield the files of the cohort that `write` makes, and whether each is there already."""
        for step in self._steps():
            is_made = self._is_made(step)
            yield from ((path, is_made) for path in (*self._paths(step), self._sidecar(step)))
        if self.options.anndata:
            is_made = self._is_annotated([self._annotated_of()])
            yield from ((path, is_made) for path in self._annotated_paths())

    def left(self) -> list[Path]:
        """List files of earlier calls that `write` does not make and that are of other content.

        Of other scans, columns or values than its own: they must not be taken for one another.
        """
        asked = {step.ending for step in self._steps()}
        found = []
        for ending in {WINDOWS, TOKENS, HARMONIZED} - asked:
            there = [self._path(ending, suffix) for suffix in _SUFFIXES]
            there = [path for path in there if path.exists()]
            sidecar = self._path(ending, ".json")
            key = self._key(_asked_before(sidecar))
            if there and not _is_current(sidecar, key, there, are_all=False):
                found += there
        path, _ = self._annotated_paths()
        without_and_with = [[SCAN], [SCAN, HARMONIZED]]
        if path.exists() and not self.options.anndata and not self._is_annotated(without_and_with):
            found.append(path)
        return found

    def n_without_matrices(self) -> int:
        """Count the scans whose correlations `write` makes."""
        own = (own for _, own in self.cohort.files(self.kind))
        return sum(not has_connectivity(one, fisher_z=self.options.fisher_z) for one in own)

    def _steps(self) -> Iterator[_Step]:
        table = self._path(SCAN, ".parquet")
        said = dict[str, Any]()

        def scans(path: Path) -> None:
            self._write_scans(path)
            said["ConstantColumns"] = constant_columns(path)

        yield _Step(SCAN, {".parquet": scans, **self._text(table)}, said)
        if self.options.windows:
            yield self._pieces(WINDOWS)
        if self.options.tokens:
            yield self._pieces(TOKENS)
        if self.design is not None:
            yield self._harmonized(table, self.design)

    def _path(self, ending: str, suffix: str) -> Path:
        return self.target / f"{table_name(self.space, ending)}{suffix}"

    def _paths(self, step: _Step) -> list[Path]:
        return [self._path(step.ending, suffix) for suffix in step.writers]

    def _sidecar(self, step: _Step) -> Path:
        return self._path(step.ending, ".json")

    def _write_scans(self, path: Path) -> None:
        alike = self.cohort.kinds[self.kind]
        _, parts = json.loads(alike.model)
        write_embedding_table(self.cohort.embeddings(self.kind), alike.columns, parts, path)

    def _pieces(self, ending: str) -> _Step:
        alike, table = self.cohort.kinds[self.kind], self._path(ending, ".parquet")
        pieces = windows_of if ending == WINDOWS else tokens_of

        def of_pieces(path: Path) -> None:
            write_pieces(pieces(self.cohort.files(self.kind)), alike.columns, path)

        def as_arrays(path: Path) -> None:
            write_npz(table, path, grid=grid_of(table) if ending == TOKENS else ())

        is_asked = self.options.npz or table.with_suffix(".npz").exists()
        npz = {".npz": as_arrays} if is_asked else {}
        what = "window" if ending == WINDOWS else "token of each window"
        said = {
            "Description": f"One row per {what} of the embedded runs: the columns of its run, "
            "which piece it is, then its numbers. n/a: no signal in that network.",
        }
        columns = OF_WINDOW if ending == WINDOWS else (*OF_WINDOW, *OF_TOKEN)
        return _Step(ending, {".parquet": of_pieces, **npz}, said, columns=columns)

    def _harmonized(self, table: Path, design: Design) -> _Step:
        options, said = self.options, dict[str, Any]()
        split = None if options.splits is None else file_sha256(options.splits)
        asked = [options.harmonize, options.harmonize_keep, split]

        def without_sites(path: Path) -> None:
            said.update(write_harmonized(table, design, options, path))
            said["ConstantColumns"] = constant_columns(path)

        own = self._path(HARMONIZED, ".parquet")
        writers = {".parquet": without_sites, **self._text(own)}
        return _Step(HARMONIZED, writers, said, asked)

    def _annotated_paths(self) -> tuple[Path, Path]:
        # A description of its own, since that of the table is written before it.
        path = self._path(SCAN, ".h5ad")
        return path, path.with_name(f"{path.stem}_h5ad.json")

    def _annotated_key(self, made_of: Sequence[str]) -> str:
        shas = [file_sha256(self._path(ending, ".parquet")) for ending in made_of]
        return text_sha256(json.dumps([__version__, shas]))

    def _is_annotated(self, made_of: Sequence[Sequence[str]]) -> bool:
        """Tell whether the AnnData file is of some of these tables, as they are and will be."""
        if not all(self._is_made(s) for s in self._steps() if s.ending in (SCAN, HARMONIZED)):
            return False
        path, mark = self._annotated_paths()
        there = [of for of in made_of if all(self._path(e, ".parquet").exists() for e in of)]
        return any(_is_current(mark, self._annotated_key(of), [path]) for of in there)

    def _annotated(self) -> list[Path]:
        table = self._path(SCAN, ".parquet")
        beside = self._path(HARMONIZED, ".parquet") if self.options.harmonize else None
        (path, mark), key = self._annotated_paths(), self._annotated_key(self._annotated_of())
        if not _is_current(mark, key, [path]):
            with replacing(path) as new:
                said = read_json(table.with_suffix(".json"))
                write_annotated(table, new, said, harmonized=beside)
            described = {
                "Description": "The table of scan embeddings for AnnData: obs are runs, var the "
                "numbers of the embedding; the layer 'harmonized' is without effects of sites.",
                **_described([path], key),
            }
            write_bytes(mark, json.dumps(described, indent=2).encode() + b"\n")
        return [path, mark]

    def _annotated_of(self) -> list[str]:
        return [SCAN, HARMONIZED] if self.options.harmonize else [SCAN]

    def _connectivity(self) -> None:
        n_new = n_scans = 0
        for _, own in self.cohort.files(self.kind):
            refuse_links_out(self.cohort.output_dir, [own.file(f"{MATRIX}.tsv").parent])
            _, is_new = write_connectivity(own, fisher_z=self.options.fisher_z)
            n_scans += 1
            n_new += is_new
        log.info("connectivity: %d of %d scans had none yet", n_new, n_scans)

    def _text(self, table: Path) -> Writers:
        """Return what writes a table as text, if that is asked for or there from another call."""
        if not (self.options.tsv or table.with_suffix(".tsv").exists()):
            return {}
        return {".tsv": lambda path: write_tsv(table, path, joined=self.cohort.known.columns)}

    def _key(self, asked: object) -> str:
        content = self.cohort.content.sha256
        return text_sha256(json.dumps([__version__, content, self.kind, asked, self.space]))

    def _is_made(self, step: _Step) -> bool:
        """Tell whether a table is there in its forms, of these scans as they are now."""
        return _is_current(self._sidecar(step), self._key(step.asked), self._paths(step))

    def _make(self, step: _Step) -> list[Path]:
        """Write a table in its forms and its sidecar, unless they are there and of these scans."""
        cohort, alike = self.cohort, self.cohort.kinds[self.kind]
        paths, sidecar = self._paths(step), self._sidecar(step)
        if self._is_made(step):
            n_scans = numbered(alike.n_scans, "scan")
            log.info("%s: %s, nothing has changed", paths[0].name, n_scans)
            return [*paths, sidecar]
        for path, write in zip(paths, step.writers.values(), strict=True):
            with replacing(path) as new:
                write(new)
        log.info("%s: %s", paths[0].name, numbered(alike.n_scans, "scan"))
        shared, _ = json.loads(alike.model)
        described = describe_scan_table(
            {**shared, **_described(paths, self._key(step.asked)), **step.said},
            n_scans=alike.n_scans,
            n_damaged=self.n_damaged,
            listing=cohort.listing.sha256,
            statuses=cohort.statuses.sha256,
            known=cohort.described(),
            columns={*alike.columns.keys(), *step.columns},
        )
        return [*paths, write_bytes(sidecar, described)]


def _asked_before(sidecar: Path) -> object:
    """Return the options that the numbers of a table of an earlier call depend on."""
    with contextlib.suppress(FileError, KeyError, TypeError):
        said = read_json(sidecar)["Harmonization"]
        return [said["SiteColumn"], said["KeptColumns"], said.get("SplitSHA256")]
    return None


def _described(paths: list[Path], key: str) -> dict[str, Any]:
    digests = {path.name: Digest(stamp(path).size, file_sha256(path)) for path in paths}
    return {
        "ContentSHA256": key,
        "Tables": {name: {"Size": d.size, "SHA256": d.sha256} for name, d in digests.items()},
    }


def _is_current(sidecar: Path, key: str, paths: list[Path], *, are_all: bool = True) -> bool:
    """Tell whether files are there as they were written, of what the key says.

    And, with ``are_all``, whether they are all that the sidecar is of.
    """
    try:
        said = read_json(sidecar)
        if said["ContentSHA256"] != key:
            return False
        if are_all and set(said["Tables"]) != {path.name for path in paths}:
            return False
        digests = [Digest(said["Tables"][p.name]["Size"], said["Tables"][p.name]["SHA256"])
                   for p in paths]  # fmt: skip
    except (FileError, KeyError, TypeError):
        return False
    return all(digest.is_of(path) for digest, path in zip(digests, paths, strict=True))
