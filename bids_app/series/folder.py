"""Which tables of a folder that another program wrote are to be embedded: one atlas of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bids_app.errors import InputError, OptionsError
from bids_app.inputs.entities import split_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_OWN_MODEL_INPUT = "model"


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
        A folder holds series of several atlases and none is named, or not the one named.
    """
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
        if entities.get("desc") != _OWN_MODEL_INPUT:
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
