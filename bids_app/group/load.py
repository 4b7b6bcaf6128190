"""The cohort's embeddings for Python: what the group level would write, and nothing written."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from bids_app.errors import InputError
from bids_app.group.export import export_group
from bids_app.outputs.group import GROUP_STATUS
from bids_app.outputs.paths import find_statuses
from model.cohort.names import GROUP_SCANS, PARTS, embedding_columns, expanded
from model.files.read import FileError, faults_as, read_cells, read_json
from model.files.write import stamp

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

_TABLE = f"{GROUP_SCANS}.parquet"


class Embeddings(NamedTuple):
    """Two tables with one row per scan, in the same order."""

    X: pd.DataFrame
    """(scans, F) float32, NaN where a network is missing; columns such as ``Vis_000``"""
    table: pd.DataFrame
    """(scans, columns) identifiers and quality numbers, as in the group table"""


def load_embeddings(
    output_dir: str | os.PathLike[str], *, parts: Sequence[str] | None = None
) -> Embeddings:
    """Load the scan vectors of an output folder, with identifiers and quality numbers.

    Parameters
    ----------
    output_dir
        Folder that the app wrote. Its group table is read where it is up to date; scans that
        it lacks are read from their own tables. A folder that holds nothing but the group
        table will do. Nothing is written there.
    parts
        Of the embedding, in order: ``mean``, ``cls``, ``networks``, or single networks. None:
        the default scan vector of the checkpoint.

    Returns
    -------
    ``X`` (scans, F) and ``table`` (scans, columns), one row per embedded scan in both. NaN in X:
    the network is missing in that scan.

    Raises
    ------
    InputError
        The folder holds no outputs, or damaged ones, which are named.
    OptionsError
        Scans were made with different settings or weights: they must not be mixed.
    NothingSelectedError
        No scan was embedded.
    ValueError
        There is no such part.

    Examples
    --------
    A column's mean in place of missing networks, then standardised, in scikit-learn::

        X, table = load_embeddings("OUT")
        model = make_pipeline(
            SimpleImputer(keep_empty_features=True), StandardScaler(), LogisticRegression()
        )
        cross_val_score(model, X, y, groups=table["participant_id"], cv=GroupKFold())
    """
    folder = Path(output_dir)
    if _is_current(folder):
        return _split(folder / _TABLE, parts)
    with TemporaryDirectory(prefix="semantoks-") as scratch:
        path, *_ = export_group(folder, into=Path(scratch))
        return _split(path, parts)


def _is_current(folder: Path) -> bool:
    """Tell whether the group table is of all scans and no scan ended after it."""
    try:
        written_ns = stamp(folder / _TABLE).mtime_ns
        ended_ns = [stamp(path).mtime_ns for path in find_statuses(folder)]
        n_scans = len(read_cells(folder / f"{GROUP_STATUS}.tsv").rows) if ended_ns else 0
    except FileError:
        return False
    return len(ended_ns) == n_scans and all(ended < written_ns for ended in ended_ns)


def _split(path: Path, parts: Sequence[str] | None) -> Embeddings:
    """Divide a group table into embedding and the rest."""
    needs = {"EmbeddingDimension": int, "ScanVector": list}
    with faults_as(InputError):
        meta = read_json(path.with_suffix(".json"), needs=needs)
    dim, default = meta["EmbeddingDimension"], meta["ScanVector"]
    wanted = expanded(default if parts is None else parts)
    if unknown := [part for part in wanted if part not in PARTS]:
        raise ValueError(f"{unknown[0]!r}: expected parts among networks, {', '.join(PARTS)}.")
    whole = pd.read_parquet(path)
    return Embeddings(
        X=whole[embedding_columns(dim, wanted)],
        table=whole[whole.columns.difference(embedding_columns(dim), sort=False)],
    )
