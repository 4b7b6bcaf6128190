"""The table of a cohort as AnnData: scans with what is known of them, numbers with their names."""

from __future__ import annotations

import contextlib
import errno
import json
import warnings
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd

from bids_app.errors import OptionsError
from bids_app.group.table import opened
from model.cohort.names import EMBEDDING_COLUMN, WHOLE, expanded, parts_in, scan_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from model.series import FloatArray

_ROWS = 1024


def refuse_without_anndata() -> None:
    """Refuse what needs the library, before anything is done for it.

    Raises
    ------
    OptionsError
        It is not installed.
    """
    try:
        _write_elem()
    except ImportError as err:
        raise OptionsError(
            f"--anndata needs the library anndata ({err}).",
            hint="In the checkout: pip install '.[anndata]'",
        ) from err


def _write_elem() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        from anndata.io import write_elem
    return write_elem


def write_annotated(
    table: Path, path: Path, said: Mapping[str, Any], *, harmonized: Path | None
) -> None:
    """Write ``.h5ad``: obs are scans, var the numbers of the embedding; by pieces.

    Parameters
    ----------
    table
        Parquet of all embedded scans.
    said
        Its sidecar: what the model is, and which parts its scan vector joins.
    harmonized
        The same without effects of sites, which becomes a layer beside the raw values.

    Raises
    ------
    OSError
        There is no room for it.
    """
    write = _write_elem()
    with opened(table) as file, _stored(path) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of strings, which change between its releases
        names = file.schema_arrow.names
        numbers = [name for name in names if EMBEDDING_COLUMN.fullmatch(name)]
        words = [name for name in names if name not in set(numbers)]
        rows = file.read(columns=words).to_pandas()
        for key, value in (("encoding-type", "anndata"), ("encoding-version", "0.1.0")):
            store.attrs[key] = value
        write(store, "obs", _plain(rows, _names_of(rows)))
        write(store, "var", _plain(*_numbers(numbers, said)))
        _stream(file, numbers, store, "X", len(rows))
        write(store, "layers", {})
        if harmonized is not None:
            with opened(harmonized) as other:
                _stream(other, numbers, store, "layers/harmonized", len(rows))
        write(store, "obsm", {})
        for part in WHOLE:
            own = [name for name in numbers if name.rpartition("_")[0] == part]
            _stream(file, own, store, f"obsm/X_{part}", len(rows))
        write(store, "uns", {"semantoks": json.dumps(said, ensure_ascii=False)})
        for empty in ("obsp", "varm", "varp"):
            write(store, empty, {})


@contextlib.contextmanager
def _stored(path: Path) -> Iterator[Any]:
    """Open a new HDF5 file; a disk that is full is the system's error, not the library's own."""
    try:
        # Unlocked: a temporary file has a lock of ours.
        with h5py.File(path, "w", locking=False) as store:
            yield store
    except RuntimeError as err:
        raise OSError(errno.EIO, str(err)) from err


def _names_of(rows: pd.DataFrame) -> list[str]:
    records = rows.to_dict("records")
    return [
        scan_name({str(k): v for k, v in row.items() if isinstance(v, str)}) for row in records
    ]


def _numbers(
    numbers: Sequence[str], said: Mapping[str, Any]
) -> tuple[pd.DataFrame, Sequence[str]]:
    parts = [name.rpartition("_")[0] for name in numbers]
    constant = frozenset(said.get("ConstantColumns", []))
    wanted = expanded(said.get("ScanVector", []), parts_in(numbers))
    frame = pd.DataFrame(
        {
            "part": parts,
            "dimension": [int(name.rpartition("_")[2]) for name in numbers],
            "in_scan_vector": [part in wanted for part in parts],
            "constant": [name in constant for name in numbers],
        }
    )
    return frame, numbers


def _plain(frame: pd.DataFrame, index: Sequence[str]) -> pd.DataFrame:
    """Give text the one form that every release of pandas and AnnData writes and reads."""
    columns: dict[str, Any] = {}
    for name in frame.columns:
        values = frame[name]
        if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            columns[str(name)] = values.to_numpy()
            continue
        texts = [None if pd.isna(value) else str(value) for value in values]
        kinds = pd.Index(sorted({text for text in texts if text is not None}), dtype=object)
        columns[str(name)] = pd.Categorical(texts, categories=kinds)
    return pd.DataFrame(columns, index=pd.Index([*index], dtype=object))


def _stream(file: Any, columns: Sequence[str], store: Any, place: str, n_rows: int) -> None:
    shape = (n_rows, len(columns))
    out = store.create_dataset(place, shape, np.float32, chunks=(min(_ROWS, n_rows), shape[1]))
    out.attrs["encoding-type"], out.attrs["encoding-version"] = "array", "0.2.0"
    at = 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=[*columns]):
        values: FloatArray = np.column_stack(
            [column.to_numpy(zero_copy_only=False) for column in batch.columns]
        ).astype(np.float32)
        out[at : at + len(values)] = values
        at += len(values)
