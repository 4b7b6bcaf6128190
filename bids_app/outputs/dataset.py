"""Files of the output dataset as a whole. Idempotent: parallel jobs write the same bytes."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bids_app import __version__
from bids_app.atlas.volumes import ATLAS_LABEL
from bids_app.errors import OptionsError, OutputError
from bids_app.files import json_bytes, write_all
from bids_app.outputs.paths import logs, refuse_links_out
from model.errors import some
from model.files.content import real_path
from model.files.faults import FileError
from model.files.read import read_json, read_text
from model.files.write import tsv_bytes
from model.networks import parcels

BIDS_VERSION = "1.11.1"
CODE_URL = "https://github.com/semantoks/semantoks"

# Suffixes that BIDS does not know yet. Directory patterns take no trailing slash:
# the validator ignores those that have one. Logs alone hold absolute paths: they are private.
BIDSIGNORE = """\
logs
*.html
*_timeseries.*
*_coverage.*
*_embedding.*
*_relmat.*
*_outliers.*
*_status.*
*_quality.*
**/figures
"""

DESCRIPTIONS = {
    "denoised": "Parcel series after confound regression and filtering, native repetition time",
    "model": "Parcel series as the encoder saw them: 2.0 s, normalized per parcel and scan",
    "pictures": "What the figures of the report are drawn from",
    "scan": "Embedding of the whole scan",
    "windows": "Embedding of each window",
    "tokens": "Tokens of each window: rows (networks, whole brain) by patches",
    "harmonized": "Embedding of the whole scan without effects of sites; of a cohort",
}


def check_output_folder(output_dir: Path, *, bids_dir: Path, derivative: Path) -> None:
    """Refuse an output folder inside the input, of another dataset, or that cannot be written.

    Raises
    ------
    OptionsError
        Names both folders and what to change.
    OutputError
        It cannot be written.
    """
    named = (output_dir, derivative, bids_dir)
    output, source, dataset = map(real_path, named)
    inside = output.parts[len(dataset.parts) :] if dataset in output.parents else ()
    of_a_participant = bool(inside) and inside[0].startswith(("sub-", "sourcedata", "."))
    if output in (source, dataset) or source in output.parents or of_a_participant:
        raise OptionsError(
            f"the output folder {output} lies inside the input {source}; "
            "nothing is ever written to the input.",
            hint="Name a folder outside it, or below derivatives/ of the raw dataset.",
        )
    place = _nearest(output_dir.absolute())
    if not place.is_dir():
        found = "a file" if place.exists() else "a link that leads nowhere"
        raise OutputError(f"{place} is {found}; expected a folder for the outputs.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(
            f"{place}: cannot be written by this user.",
            hint="In a container: is it mounted there, and may be written?",
        )
    refuse_links_out(output_dir, [logs(output_dir)])
    _refuse_another_dataset(output)


def _nearest(path: Path) -> Path:
    """Return what is there already of a path: itself or the first of its parents."""
    for part in (path, *path.parents):
        try:
            part.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as err:
            raise OutputError(f"{some([str(part)])}: cannot be written ({err.strerror}).") from err
        return part
    raise AssertionError(path)  # the root is always there


def _refuse_another_dataset(output: Path) -> None:
    """Refuse a folder whose description does not name semantoks, or cannot be read."""
    hint = "Name a folder of its own for semantoks."
    try:
        text = read_text(output / "dataset_description.json")
    except FileError as fault:
        if isinstance(fault.__cause__, FileNotFoundError | NotADirectoryError):
            return
        raise OptionsError(f"{output} may hold another dataset: {fault}", hint=hint) from fault
    if "semantoks" not in text:
        raise OptionsError(
            f"{output} already holds another dataset (its dataset_description.json does not "
            "name semantoks).",
            hint=hint,
        )


def write_dataset_files(output_dir: Path, *, derivative: Path) -> list[Path]:
    """Write what describes the dataset, not one scan of it."""
    descriptions = [(f"desc-{label}", text) for label, text in DESCRIPTIONS.items()]
    table = [(p.index, p.name, p.network, p.hemisphere) for p in parcels()]
    citation = files("bids_app").joinpath("data/CITATION.md").read_bytes()
    readme = files("bids_app").joinpath("data/README_output.md").read_bytes()
    contents = {
        ".bidsignore": BIDSIGNORE.encode(),
        "dataset_description.json": json_bytes(_description(output_dir, derivative)),
        "README.md": readme,
        "descriptions.tsv": tsv_bytes(("desc_id", "description"), descriptions),
        f"atlas-{ATLAS_LABEL}_dseg.tsv": tsv_bytes(
            ("index", "name", "network", "hemisphere"), table
        ),
        f"atlas-{ATLAS_LABEL}_dseg.json": json_bytes(_ATLAS_COLUMNS),
        f"atlas-{ATLAS_LABEL}_description.json": json_bytes(_ATLAS),
        "logs/CITATION.md": citation,
    }
    return write_all({output_dir / name: content for name, content in contents.items()})


_ATLAS_COLUMNS = {
    "name": {"Description": "Name of the parcel as its authors give it."},
    "network": {"Description": "Network whose tokens the parcel enters."},
    "hemisphere": {"Levels": {"L": "left", "R": "right", "B": "both"}},
}

_ATLAS = {
    "Name": "Semantoks457",
    "Description": "Schaefer-400 cortex in 7-network order (1-400), Tian S3 subcortex "
    "(401-450), Buckner 7-network cerebellum (451-457): the order of the model and of all tables.",
    "License": "Each source keeps its own licence; voxel data are not part of this dataset.",
    "ReferencesAndLinks": [
        "https://doi.org/10.1093/cercor/bhx179",
        "https://doi.org/10.1038/s41593-020-00711-6",
        "https://doi.org/10.1152/jn.00339.2011",
    ],
}


def _description(output_dir: Path, derivative: Path) -> dict[str, Any]:
    generators = [{"Name": "semantoks", "Version": __version__, "CodeURL": CODE_URL}]
    return {
        "Name": "semantoks: parcel series, tokens and embeddings",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": "As the source dataset.",
        "GeneratedBy": generators + _generators_of(derivative),
        "HowToAcknowledge": "See logs/CITATION.md.",
        "DatasetLinks": {"preprocessed": _relative(derivative, output_dir)},
    }


def _relative(folder: Path, start: Path) -> str:
    """Return a relative URI: where a dataset lies on this machine is nobody else's business."""
    return quote(Path(os.path.relpath(real_path(folder), real_path(start))).as_posix())


def _generators_of(derivative: Path) -> list[dict[str, str]]:
    """Return name and version of the input's generators; an incomplete input gives none."""
    try:
        description = read_json(derivative / "dataset_description.json")
    except FileError:
        return []
    entries = description.get("GeneratedBy") or [description.get("PipelineDescription")]
    return [
        {key: str(entry[key]) for key in ("Name", "Version") if entry.get(key)}
        for entry in entries
        if isinstance(entry, dict) and entry.get("Name")
    ]
