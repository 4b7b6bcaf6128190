"""The files that belong to a BOLD image: brain mask, confounds, sidecars. Matched by entity."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bids_app.inputs.entities import Entities, parse_name, split_name
from bids_app.inputs.refusal import Refusal
from bids_app.inputs.scan import Scan, Sources
from model.files.fault import FileError
from model.files.read import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Confounds belong to a run, whatever space or combination of echoes its series is in.
_NOT_OF_THE_RUN = ("space", "cohort", "res", "den", "hemi", "desc", "echo", "part")


def scan_of(image: Path, entities: Entities, folder: Iterable[Path], *, root: Path) -> Scan:
    """Match mask, confounds and sidecars of one BOLD image among the files of its folder.

    A file that is absent is None; one that is ambiguous, damaged or not fetched is a
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
        f"{path.name}: {Refusal.NOT_FETCHED.of()}"
        for path in (*masks[:1], *sidecars)
        if not path.exists()
    ]
    metadata, fault = _merged(path for path in sidecars if path.exists())
    problems += [fault] if fault else []
    tsv = confounds[0] if len(confounds) == 1 else None
    meta = tsv and tsv.with_name(tsv.name.partition(".")[0] + ".json")
    exact = image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    scan = Scan(
        name=image.name.rpartition("_")[0],
        entities=entities,
        root=root,
        metadata=metadata,
        sources=Sources(
            data=image,
            mask=masks[0] if len(masks) == 1 else None,
            confounds=tsv,
            confounds_json=meta if meta in paths else None,
            sidecar=exact if exact in sidecars else (sidecars[-1] if sidecars else None),
        ),
    )
    given = metadata.get("RepetitionTime")
    if given is not None and scan.tr_s is None:
        problems.append(f"RepetitionTime in the sidecar is {given!r}, expected seconds")
    return replace(scan, problem=Refusal.BAD_FILES.of("; ".join(problems)) if problems else None)


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


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
