"""The files that belong to a BOLD series: brain mask, confounds, sidecar. Matched by entity."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bids_app.inputs.entities import Entities, parse_name, split_name
from model.files.fault import FileError
from model.files.read import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Confounds belong to a run, whatever space or combination of echoes its series is in.
_NOT_OF_THE_RUN = ("space", "cohort", "res", "den", "hemi", "desc", "echo", "part")
NOT_FETCHED = "annexed file not present: datalad get"


@dataclass(frozen=True, kw_only=True)
class Companions:
    """What was found beside one BOLD file."""

    mask_path: Path | None = None
    confounds_path: Path | None = None
    confounds_meta_path: Path | None = None
    sidecar_path: Path | None = None
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    tr_s: float | None = None
    problem: str | None = None
    """Why the run cannot be processed; the loop over runs reports it as failed."""


def find_companions(bold: Path, entities: Entities, folder: Iterable[Path]) -> Companions:
    """Match mask, confounds and sidecar of one BOLD file among the files of its folder.

    A companion that is absent is None; one that is ambiguous, damaged or not fetched is a
    ``problem``, since to go on without it would silently change the result.
    """
    paths = sorted(folder)
    masks = _masks_of(entities, paths) or _masks_of(replace(entities, echo=None), paths)
    confounds = _best_confounds(entities, paths)
    sidecars = _sidecars(entities, paths)
    problems = []
    if len(masks) > 1:
        problems.append(f"several masks match: {_names(masks)}")
    if len(confounds) > 1:
        problems.append(f"several confounds files match equally well: {_names(confounds)}")
    problems += [
        f"{path.name}: {NOT_FETCHED}" for path in (*masks[:1], *sidecars) if not path.exists()
    ]
    sidecar, fault = _merged(path for path in sidecars if path.exists())
    tr_s, tr_fault = _repetition_time(sidecar)
    problems += [text for text in (fault, tr_fault) if text]
    tsv = confounds[0] if len(confounds) == 1 else None
    meta = tsv and tsv.with_name(tsv.name.partition(".")[0] + ".json")
    exact = bold.with_name(bold.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    return Companions(
        mask_path=masks[0] if len(masks) == 1 else None,
        confounds_path=tsv,
        confounds_meta_path=meta if meta in paths else None,
        sidecar_path=exact if exact in sidecars else (sidecars[-1] if sidecars else None),
        sidecar=sidecar,
        tr_s=tr_s,
        problem="; ".join(problems) or None,
    )


def _masks_of(entities: Entities, paths: Iterable[Path]) -> list[Path]:
    """Match ``desc-brain_mask``, and ``label-brain_mask`` of the BIDS examples."""
    expected = {key: value for key, value in entities.present().items() if key != "desc"}
    found = []
    for path in paths:
        parts = (
            split_name(path.name) if path.name.endswith(("_mask.nii.gz", "_mask.nii")) else None
        )
        if parts and parts[0] in (expected | {"desc": "brain"}, expected | {"label": "brain"}):
            found.append(path)
    return found


def confounds_entities(name: str) -> Entities | None:
    """Return the entities of a confounds table's name; None if it is any other file.

    ``_regressors`` to fMRIPrep 20.1, ``_timeseries`` since.
    """
    parsed = parse_name(name)
    if parsed is None:
        return None
    entities, suffix, extension = parsed
    named = entities.desc == "confounds" and suffix in ("timeseries", "regressors")
    return entities if named and extension in (".tsv", ".tsv.gz") else None


def _best_confounds(entities: Entities, paths: Iterable[Path]) -> list[Path]:
    """Return the confounds files that share most entities with the run: one, none or a tie."""
    scores: dict[Path, int] = {}
    own = entities.present()
    for path in paths:
        other = confounds_entities(path.name)
        if other is None or _run_part(other) != _run_part(entities):
            continue
        labels = {key: value for key, value in other.present().items() if key != "desc"}
        if other.part not in (None, "mag") or any(own.get(k, v) != v for k, v in labels.items()):
            continue
        scores[path] = sum(1 if key in own else -1 for key in labels)
    return [path for path, score in scores.items() if score == max(scores.values())]


def _run_part(entities: Entities) -> dict[str, str]:
    return {k: v for k, v in entities.present().items() if k not in _NOT_OF_THE_RUN}


def _sidecars(entities: Entities, paths: Iterable[Path]) -> list[Path]:
    """Return the JSON files of the folder that apply by inheritance, most general first."""
    own = entities.present().items()
    found: list[tuple[int, Path]] = []
    for path in paths:
        parsed = parse_name(path.name)
        # fMRIPrep 20-22 wrote a second file beside CIFTI series: …_bold.dtseries.json.
        if parsed is not None and parsed[1:] in (("bold", ".json"), ("bold", ".dtseries.json")):
            labels = parsed[0].present().items()
            if labels <= own:
                found.append((len(labels), path))
    return [path for _, path in sorted(found)]


def _merged(sidecars: Iterable[Path]) -> tuple[dict[str, Any], str | None]:
    """Read sidecars, the later ones leading; name the first that is no JSON object."""
    merged: dict[str, Any] = {}
    for path in sidecars:
        try:
            merged |= read_json(path)
        except FileError as fault:
            return merged, fault.sentence(where=path.name).removesuffix(".")
    return merged, None


def _repetition_time(sidecar: Mapping[str, Any]) -> tuple[float | None, str | None]:
    value = sidecar.get("RepetitionTime")
    if value is None:
        return None, None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and value > 0:
        return float(value), None
    return None, f"RepetitionTime in the sidecar is {value!r}, expected seconds"


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
