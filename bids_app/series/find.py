"""Which series the inputs hold: files, folders of other programs. Names only, no values."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_app.errors import InputError, OptionsError, ScanError
from bids_app.inputs.entities import Entities, split_name
from bids_app.inputs.scan import Refusal, Scan, Sources
from bids_app.series.foreign import own_outliers, series_keys
from model.errors import some
from model.files.content import real_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# They say how the input was made, not which run it is.
_NOT_KEPT = ("desc", "echo", "part", "hemi")
_EXTENSION = re.compile(r"\.(tsv|csv|npy|npz|h5|hdf5)$", re.IGNORECASE)
_OWN_MODEL_DESC = "model"
_MODEL_INPUT = "is the model's own input (desc-model), normalized already; pass desc-denoised"


def expand_inputs(inputs: Iterable[Path], *, atlas: str | None) -> list[Path]:
    """Replace each folder by the tables of series in it; files stay as they are.

    Parameters
    ----------
    inputs
        Files, and output folders of xcp_d, giga_connectome or semantoks.
    atlas
        Label of ``seg-`` or ``atlas-`` in the names; None: there is only one in the folder.

    Raises
    ------
    InputError
        A folder holds no ``sub-*/[ses-*/]func/*_timeseries.tsv``.
    OptionsError
        There is nothing of that name; or a folder holds series of several atlases and none is
        named, or not the one named.
    """
    inputs = list(inputs)
    # A link to what was not fetched is a bad file among others.
    if absent := [str(path) for path in inputs if not os.path.lexists(path)]:
        raise OptionsError(f"INPUT {some(absent)}: no such file or folder.")
    return [
        path
        for given in inputs
        for path in (_tables_in(given, atlas) if given.is_dir() else [given])
    ]


def _tables_in(folder: Path, atlas: str | None) -> list[Path]:
    by_atlas: dict[str, list[Path]] = {}
    patterns = ("sub-*/func/*_timeseries.tsv", "sub-*/ses-*/func/*_timeseries.tsv")
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        entities = (split_name(path.name) or ({}, "", ""))[0]
        if entities.get("desc") != _OWN_MODEL_DESC:
            label = entities.get("seg") or entities.get("atlas") or "(none)"
            by_atlas.setdefault(label, []).append(path)
    if not by_atlas:
        raise InputError(
            f"{folder}: expected sub-*/[ses-*/]func/*_timeseries.tsv, found none.",
            hint="Name the output folder of xcp_d, giga_connectome or semantoks, or the files.",
        )
    if atlas is None and len(by_atlas) == 1:
        return next(iter(by_atlas.values()))
    if atlas not in by_atlas:
        found = ", ".join(f"{label} ({len(paths)} series)" for label, paths in by_atlas.items())
        raise OptionsError(
            f"{folder}: expected series of one atlas, found {found}."
            if atlas is None
            else f"{folder}: no series of atlas {atlas}; found {found}.",
            hint="Choose with --atlas-label: 4S456Parcels of xcp_d, "
            "Schaefer2018400Parcels7Networks of giga_connectome.",
        )
    return by_atlas[atlas]


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all files."""
    return Path(os.path.commonpath([_placed(path).parent for path in paths]))


def _placed(path: Path) -> Path:
    """Return an absolute path under the file's own name: one of git-annex is a link to a key."""
    return real_path(path.parent) / path.name


def find_series(paths: Sequence[Path]) -> list[Scan]:
    """List all series of the files, each under a name of its own.

    Raises
    ------
    OptionsError
        Two series would be called the same, or a name holds no letter and no digit.
    """
    root = common_folder(paths)
    scans = [scan for path in paths for scan in _series_of(_placed(path), root)]
    seen: dict[str, Scan] = {}
    for scan in scans:
        other = seen.setdefault(scan.name, scan)
        if other is not scan:
            raise OptionsError(
                f"{_origin(other)} and {_origin(scan)} would both be called {scan.name}.",
                hint="Name files and series sub-<label>[_ses-<label>][_task-<label>]… (BIDS).",
            )
    return scans


def entities_of(name: str) -> Entities:
    """Read the name of a series: BIDS entities, or any text as the participant's label.

    Parameters
    ----------
    name
        File name, or key in a file. What is no BIDS name becomes ``sub-`` with its letters and
        digits: ``100307_REST1`` is ``sub-100307REST1``.

    Raises
    ------
    OptionsError
        There is no letter and no digit in it.
    """
    stem = _EXTENSION.sub("", name)
    parsed = split_name(name) or split_name(f"{stem}_timeseries.tsv")
    if parsed is not None:
        known = {f.name for f in fields(Entities)}.difference(_NOT_KEPT)
        return Entities(**{key: value for key, value in parsed[0].items() if key in known})
    label = re.sub(r"[^0-9A-Za-z]", "", stem)
    if not label:
        raise OptionsError(f"{name!r:.80}: expected a name with letters or digits.")
    return Entities(sub=label)


def _series_of(path: Path, root: Path) -> Iterable[Scan]:
    sidecar = path.with_suffix(".json")
    problem = None
    keys: tuple[str | None, ...] = (None,)
    try:
        keys = series_keys(path)
        named = [entities_of(path.name if key is None else key) for key in keys]
    except (ScanError, OptionsError) as err:  # a bad file is one bad scan, by the file's name
        keys, named = (None,), [entities_of(path.name)]
        problem = Refusal.BAD_FILES.of(err)
    if "_desc-model_" in path.name:
        problem = Refusal.BAD_FILES.of(f"{path.name} {_MODEL_INPUT}")
    repeated = Counter(keys)
    number: Counter[str | None] = Counter()
    for row, (key, entities) in enumerate(zip(keys, named, strict=True)):
        number[key] += 1
        if repeated[key] > 1:
            entities = replace(entities, ses=str(number[key]))
        yield Scan(
            name=entities.stem(),
            entities=entities,
            sources=Sources(
                data=path,
                row=row,
                key=key,
                confounds=own_outliers(path),
                sidecars=(sidecar,) if sidecar.is_file() else (),
            ),
            root=root,
            problem=problem,
        )


def _origin(scan: Scan) -> str:
    data, key = scan.sources.data.name, scan.sources.key
    return data if key is None else f"{data}#{key}"
