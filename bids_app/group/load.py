"""The cohort's embeddings for Python: what the group level would write, and nothing written."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pandas as pd

from bids_app.errors import InputError, NothingSelectedError
from bids_app.group.cohort import Listing, changed_ns, statuses_sha256
from bids_app.group.exclusions import Exclusions
from bids_app.group.export import export_group
from bids_app.group.options import GroupOptions
from bids_app.group.phenotypes import read_phenotypes, who_is
from bids_app.outputs.group import table_name
from bids_app.outputs.paths import find_statuses
from model.cohort.names import (
    EXCLUDED,
    HARMONIZED,
    SCAN,
    SESSION,
    SUBJECT,
    TOKENS,
    WINDOWS,
    embedding_columns,
    expanded,
    parts_in,
)
from model.cohort.outputs import excluded_scans
from model.files.faults import FileError, faults_as, reading
from model.files.read import read_json
from model.files.write import file_sha256, stamp
from model.spec import Size

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from bids_app.group.phenotypes import Phenotypes

log = logging.getLogger(__name__)


Level = Literal["scans", "windows", "tokens", "harmonized"]
_ENDINGS = {"scans": SCAN, "windows": WINDOWS, "tokens": TOKENS, "harmonized": HARMONIZED}


class Embeddings(NamedTuple):
    """Two tables with one row per scan, in the same order."""

    X: pd.DataFrame
    """(scans, F) float32, NaN where a network is missing; columns such as ``Vis_000``"""
    table: pd.DataFrame
    """(scans, columns) identifiers, quality numbers and what was joined, as in the group table"""


def load_embeddings(
    output_dir: str | os.PathLike[str],
    *,
    parts: Sequence[str] | None = None,
    space: str | None = None,
    level: Level = "scans",
    participants: str | os.PathLike[str] | None = None,
    sessions: str | os.PathLike[str] | None = None,
) -> Embeddings:
    """Load the scan vectors of an output folder, with identifiers and quality numbers.

    Parameters
    ----------
    output_dir
        Folder that the app wrote. Its group table is read where it is up to date; scans that
        it lacks are read from their own tables. A folder that holds nothing but the group
        table will do. Nothing is written there.
    parts
        Of the embedding, in order: ``mean``, ``cls``, ``networks`` (all rows of the model's
        grid), or single networks or other rows. None: the checkpoint's default scan vector.
    space
        Only scans in this space, of a folder that holds several.
    level
        What a row is: a scan, one of its ``windows``, or one of their ``tokens``; or
        ``harmonized``, a scan without the effects of sites, as the group level wrote it.
    participants
        ``participants.tsv``, or the folder of a dataset that has one: its columns are joined to
        ``table``, in place of those that the group level joined.
    sessions
        A table with ``participant_id`` and ``session_id``, or the folder of a dataset with
        ``sub-*/sub-*_sessions.tsv``: likewise.

    Returns
    -------
    ``X`` (scans, F) and ``table`` (scans, columns), one row per embedded scan in both. NaN in X:
    the network is missing in that scan.

    Raises
    ------
    InputError
        The folder holds no outputs, or nothing but a table that is damaged or was edited.
    OptionsError
        Scans were made with different settings or weights: they must not be mixed. Or the table
        of participants names nobody here, somebody twice, or columns as ours are called.
    NothingSelectedError
        No scan was embedded, or none in this space.
    ValueError
        There is no such part.

    Notes
    -----
    Scans whose files are not what their status says are left out, with a warning in the log; so
    are those that the group level was last told to exclude (``--exclude-scans``).

    Examples
    --------
    A column's mean in place of missing networks, then standardised, in scikit-learn::

        X, table = load_embeddings("OUT")
        model = make_pipeline(
            SimpleImputer(keep_empty_features=True), VarianceThreshold(1e-6), StandardScaler(),
            LogisticRegression(),
        )
        cross_val_score(model, X, y, groups=table["participant_id"], cv=GroupKFold())
    """
    folder, name = Path(output_dir), f"{table_name(space, _ENDINGS[level])}.parquet"
    if level == "tokens" and parts is None:
        parts = ("token",)
    known = read_phenotypes(
        *(None if path is None else Path(path) for path in (participants, sessions))
    )
    with faults_as(InputError):
        if not (reason := _why_not(folder / name)):
            return _joined(folder / name, parts, known)
        if level == "harmonized":
            raise InputError(
                f"{folder / name}: {reason}.",
                hint="Write it with the group level: --harmonize COLUMN.",
            )
        _tell_unjoined(folder / name, known, reason)
        with TemporaryDirectory(prefix="semantoks-") as scratch:
            options = GroupOptions(
                split_by="space" if space else None,
                windows=level == "windows",
                tokens=level == "tokens",
            )
            export = export_group(
                folder,
                options,
                into=Path(scratch),
                exclusions=Exclusions(reasons=excluded_scans(folder)),
            )
            if not Path(scratch, name).exists():
                made = [path.stem for path in export.paths if path.suffix == ".parquet"]
                raise NothingSelectedError(
                    f"{folder}: no scan in space {space}.", hint=f"There are {', '.join(made)}."
                )
            return _joined(Path(scratch, name), parts, known)


def _joined(path: Path, parts: Sequence[str] | None, known: Phenotypes) -> Embeddings:
    """Read a table, and join columns about people and sessions in place of those it has."""
    found = _split(path, parts)
    if not known.files:
        return found
    old = _sidecar(path).get("Participants", {}).get("Columns", [])
    table = found.table.drop(columns=old)
    known.refuse_collisions([*table.columns])
    keys = [name for name in (SUBJECT, SESSION) if name in table.columns]
    rows = table[keys].to_dict("records")
    known.tell({who_is(row) for row in rows})
    columns = pd.DataFrame([known.of(row) for row in rows], columns=[*known.columns])
    return found._replace(table=pd.concat([table, columns.set_index(table.index)], axis=1))


def _tell_unjoined(table: Path, known: Phenotypes, reason: str) -> None:
    """Say that a table which is not read any more had columns that this call does not join."""
    with contextlib.suppress(FileError):
        said = _sidecar(table).get("Participants")
        if said and not known.files:
            log.warning(
                "%s %s, and is not read; it has columns of %s, which participants= joins.",
                table.stem, reason, ", ".join(said["Files"]),
            )  # fmt: skip


def _why_not(table: Path) -> str:
    """Say why a group table is not of the scans as they are now; empty: it is.

    Raises
    ------
    FileError
        The table is not as it was written, and there are no scans to make it of anew.
    """
    if not table.exists():
        return "is not there"
    folder, statuses = table.parent, [*find_statuses(table.parent)]
    try:
        _check(table)
        said, excluded = _sidecar(table), excluded_scans(folder) if statuses else {}
    except FileError:
        if statuses:
            return "is not as it was written"
        raise
    if not statuses:
        return ""
    if said["StatusNamesSHA256"] != Listing.of(folder, statuses).sha256:
        return "is of other scans than are there now"
    if said.get(EXCLUDED, {}) != excluded:
        return "holds other scans than the group level was last told to leave out"
    # Statuses that are older need not be read; of a copied folder they may be newer.
    is_newer = all(changed_ns(path) < stamp(table).mtime_ns for path in statuses)
    is_same = is_newer or said["StatusesSHA256"] == statuses_sha256(folder)
    return "" if is_same else "is of scans that were made anew since"


def _sidecar(table: Path) -> dict[str, Any]:
    needs = {"EmbeddingDimension": Size, "ScanVector": list[str], "Tables": dict}
    hashes = {"StatusNamesSHA256": str, "StatusesSHA256": str}
    return read_json(table.with_suffix(".json"), needs=needs | hashes)


def _check(table: Path) -> None:
    """Refuse a table that is not the one of which its sidecar has size and hash."""
    said = _sidecar(table)["Tables"].get(table.name)
    if said != {"Size": stamp(table).size, "SHA256": file_sha256(table)}:
        raise FileError(
            table,
            "is not the table that its sidecar describes",
            hint="Write it anew with the group level.",
        )


def _split(path: Path, parts: Sequence[str] | None) -> Embeddings:
    """Divide a group table into embedding and the rest."""
    meta = _sidecar(path)
    dim, default = meta["EmbeddingDimension"], meta["ScanVector"]
    with reading(path, "not a readable table"):
        whole = pd.read_parquet(path)
    there = parts_in(whole.columns)
    wanted = expanded(default if parts is None else parts, there)
    unknown = [part for part in wanted if part not in there]
    if unknown and parts is None:
        raise FileError(
            path.with_suffix(".json"), f"no such part, {unknown[0]:.60}", place="key ScanVector"
        )
    if unknown:
        raise ValueError(f"{unknown[0]!r}: expected parts among networks, {', '.join(there)}.")
    return Embeddings(
        X=whole[embedding_columns(dim, wanted)],
        table=whole[whole.columns.difference(embedding_columns(dim, there), sort=False)],
    )
