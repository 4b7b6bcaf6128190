"""Which image stands for a run, with which mask, confounds and sidecars, and why others do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bids_app.atlas.spaces import FSLR, SPACES, atlas_key
from bids_app.inputs.copies import without_copies
from bids_app.inputs.entities import Entities, parse_name, split_name
from bids_app.inputs.scan import (
    CIFTI_ENDING,
    LONGEST_NAME,
    SURFACE_ENDINGS,
    UNFETCHED,
    Reason,
    Refusal,
    Scan,
    Sources,
)
from bids_app.inputs.sidecars import merged, sidecars_of
from model.files.content import not_a_file, not_fetched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from bids_app.inputs.selection import Selection

_GRID = ("space", "cohort", "res", "den", "hemi")


def scan_of(
    image: Path, entities: Entities, files: Mapping[Path, Sequence[Path]], *, root: Path
) -> Scan:
    """Match mask, confounds and sidecars of one BOLD image among the files of its dataset.

    Mask and confounds lie in its folder; sidecars are inherited from those above it too.

    A file that is absent is None; one that is ambiguous, damaged or not fetched is a
    ``problem``, since to go on without it would silently change the result.
    """
    paths = files[image.parent]
    masks = without_copies(_masks_of(entities, paths))
    confounds = without_copies(_best_confounds(entities, paths))
    sidecars = sidecars_of(entities, image.parent, root, files)
    problems = []
    if len(masks) > 1:
        problems.append(f"several masks match: {_names(masks)}")
    if len(confounds) > 1:
        problems.append(f"several confounds files match equally well: {_names(confounds)}")
    if kind := not_a_file(image):
        problems.append(f"expected a file, found {kind}")
    absent = [path for path in (*masks, *sidecars) if not_fetched(path)]
    metadata, fault = merged(path for path in sidecars if path not in absent)
    problems += [fault] if fault else []
    tsv = confounds[0] if len(confounds) == 1 else None
    meta = tsv and tsv.with_name(tsv.name.partition(".")[0] + ".json")
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
            sidecars=tuple(sidecars),
        ),
    )
    if problems:
        return replace(scan, problem=Refusal.BAD_FILES.of("; ".join(problems)))
    return replace(scan, problem=Refusal.PART_NOT_FETCHED.of(_names(absent))) if absent else scan


def _masks_of(entities: Entities, paths: Iterable[Path]) -> list[Path]:
    """Match ``desc-brain_mask``, and ``label-brain_mask`` of the BIDS examples, on its grid."""
    found = {}
    for path in paths:
        parts = (
            split_name(path.name) if path.name.endswith(("_mask.nii.gz", "_mask.nii")) else None
        )
        if parts is None or "brain" not in (parts[0].get("desc"), parts[0].get("label")):
            continue
        labels = {key: value for key, value in parts[0].items() if key not in ("desc", "label")}
        if len(labels) == len(parts[0]) - 1 and set(labels) <= set(vars(entities)):
            found[path] = Entities(**labels)
    grid = _labels(entities, _GRID)
    return _closest(entities, {p: e for p, e in found.items() if _labels(e, _GRID) == grid})


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
    tables = ((path, confounds_entities(path.name)) for path in paths)
    found = {path: replace(table, desc=None) for path, table in tables if table is not None}
    return _closest(entities, found)


def _closest(own: Entities, found: Mapping[Path, Entities]) -> list[Path]:
    """Return the files of a run that share most entities with an image: one, none or a tie.

    They belong to the run, whatever space or combination of echoes its series is in; but none
    may say of itself what contradicts the image. To have ``part-mag`` is to have no part.
    """
    labels = own.present()
    allowed = labels.items() | {("part", "mag")}
    scores: dict[Path, int] = {}
    for path, other in found.items():
        theirs = other.present()
        if theirs.items() <= allowed and other.run_stem == own.run_stem:
            scores[path] = sum(1 if key in labels else -1 for key in theirs)
    return [path for path, score in scores.items() if score == max(scores.values())]


def _labels(entities: Entities, keys: Iterable[str]) -> list[str | None]:
    return [getattr(entities, key) for key in keys]


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


@dataclass(frozen=True, kw_only=True)
class BoldFile:
    """A BOLD file that was asked for, and what becomes of it."""

    path: str
    """Relative to the derivative."""
    run: str
    """What all files of the run share."""
    space: str
    reason: Reason | None
    """Why it is not embedded; None: it is."""
    scan: Scan | None = None
    """With the files that belong to it; None where it is of a kind that is never taken."""
    selected: bool = False
    """It stands for its run: to be embedded or, with a reason, to be reported as failed."""

    @property
    def status(self) -> Literal["chosen", "refused"]:
        """Whether it will be embedded."""
        return "refused" if self.reason else "chosen"

    @property
    def why(self) -> str:
        """The reason in words; empty where there is none."""
        return str(self.reason or "")

    @property
    def confounds(self) -> Literal["yes", "no", "not fetched", ""]:
        """Whether its confounds table is there; empty where nobody looked."""
        if self.scan is None:
            return ""
        path = self.scan.sources.confounds
        return "no" if path is None else "not fetched" if not_fetched(path) else "yes"


def bold_entities(path: Path) -> Entities | None:
    """Return the entities of a BOLD file; None where its name is none that is read."""
    parsed = parse_name(path.name)
    if parsed is None or parsed[1] != "bold" or not parsed[2].islower():
        return None
    return parsed[0]


def why_never(
    path: Path, entities: Entities, *, spaces: Mapping[str, int], selection: Selection
) -> Reason | None:
    """Say why a BOLD file is of a kind that is never embedded; None if it may be.

    Parameters
    ----------
    path, entities
        The file.
    spaces
        Spaces with an atlas, and its number of parcels.
    selection
        What the user asked for: the space, ``auto`` or ``each``; a single echo by the filter file.
    """
    asked = selection.space
    place = "/".join(f"{k}-{v}" for k, v in entities.present().items() if k in ("sub", "ses"))
    desc, space, den = entities.desc, entities.space, entities.den
    is_cifti = path.name.endswith(CIFTI_ENDING)
    single_echo = entities.echo is not None and not selection.bids_filters.get("echo")
    length = len(entities.stem(desc=None))
    densities = " and den-".join(FSLR.densities)
    checks = (
        (not path.parent.match(f"{place}/func"), Refusal.MISPLACED.of(place)),
        (path.name.endswith(SURFACE_ENDINGS), Refusal.SURFACE.of(space)),
        (is_cifti and space != FSLR.name, Refusal.CIFTI_SPACE.of(space, FSLR.name)),
        (not is_cifti and space == FSLR.name, Refusal.NOT_CIFTI.of(space, CIFTI_ENDING)),
        (is_cifti and den not in (None, *FSLR.densities), Refusal.DENSITY.of(den, densities)),
        (single_echo, Refusal.ECHO.of()),
        (entities.part not in (None, "mag"), Refusal.PART.of(entities.part)),
        (desc is None and not is_cifti, Refusal.NO_DESC.of()),
        (desc not in (None, "preproc"), Refusal.OTHER_DESC.of(desc)),
        (space is None, Refusal.OWN_SPACE.of()),
        (
            space not in SPACES or entities.cohort is not None,
            Refusal.OTHER_SPACE.of(_template(entities)),
        ),
        (asked not in ("auto", "each", space), Refusal.SPACE_NOT_ASKED.of(space, asked)),
        (_key(entities) not in spaces, Refusal.NO_ATLAS.of(_key(entities))),
        (length > LONGEST_NAME, Refusal.LONG_NAME.of(length, LONGEST_NAME)),
    )
    return next((reason for applies, reason in checks if applies), None)


def _template(entities: Entities) -> str:
    return f"{entities.space}" + (f"_cohort-{entities.cohort}" if entities.cohort else "")


def one_of_run(
    scans: Sequence[Scan], spaces: Mapping[str, int], *, study: str | None = None
) -> list[BoldFile]:
    """Select one image of a run, and give each of the others its reason.

    Only those in the space of the `study` compete, if there is one: a run that has none is left
    out, with that as its reason.
    The first of `spaces` wins, then res-2, then no res. A draw, and a mask, confounds or
    sidecar that is ambiguous or damaged, select an image *with* a reason: the run fails, and
    says why. Images that were not fetched, with all that belongs to them, or are not evenly
    spaced do not compete; where a run has no other, one stands for it all the same, to be
    reported as failed, not forgotten.
    """
    own = [scan for scan in scans if study in (None, scan.space)]
    chosen = _ranked(own, spaces) if own else []
    taken = next((file.scan for file in chosen if file.selected), None)
    names = ", space-".join(sorted({scan.space for scan in scans}))
    for scan in scans:
        if scan not in own:
            left_out = Refusal.OTHER_THAN_STUDY.of(names, study)
            why = taken and (
                _passed_over(scan, _why_unusable(scan), taken, spaces)
                or Refusal.BETTER_SPACE.of(_key(taken.entities), "that of the study")
            )
            chosen.append(_file(scan, why or left_out, selected=False))
    return chosen


def _ranked(scans: Sequence[Scan], spaces: Mapping[str, int]) -> list[BoldFile]:
    unusable = [_why_unusable(scan) for scan in scans]
    usable = [scan for scan, why in zip(scans, unusable, strict=True) if why is None]
    ranks = [_rank(scan.entities, spaces) for scan in usable or scans]
    best = [s for s, rank in zip(usable or scans, ranks, strict=True) if rank == min(ranks)]
    return [
        _file(scan, _why_not(scan, why, best, spaces), selected=scan is best[0])
        for scan, why in zip(scans, unusable, strict=True)
    ]


def _file(scan: Scan, reason: Reason | None, *, selected: bool) -> BoldFile:
    return BoldFile(
        path=scan.sources.data.relative_to(scan.root).as_posix(),
        run=scan.entities.run_stem,
        space=scan.space,
        reason=reason,
        scan=scan,
        selected=selected,
    )


def _why_unusable(scan: Scan) -> Reason | None:
    if not_fetched(scan.sources.data):
        return Refusal.NOT_FETCHED.of()
    if scan.problem and scan.problem.refusal is Refusal.PART_NOT_FETCHED:
        return scan.problem
    given = scan.metadata
    untimed = "RepetitionTime" not in given and "AcquisitionDuration" in given
    return Refusal.SPARSE.of() if "VolumeTiming" in given or untimed else None


def _rank(entities: Entities, spaces: Mapping[str, int]) -> tuple[int, bool, int]:
    """Order by space; all echoes before one; the 2 mm grid, the native one, anything else."""
    res = entities.res or ""
    on_2mm = res.isdecimal() and int(res) == 2
    grid = 0 if on_2mm else {"": 1, "native": 2}.get(res, 3)
    return list(spaces).index(_key(entities)), entities.echo is not None, grid


def _key(entities: Entities) -> str:
    return atlas_key(entities.space or "", entities.den)


def _why_not(
    scan: Scan, why: Reason | None, best: Sequence[Scan], spaces: Mapping[str, int]
) -> Reason | None:
    if why is not None:
        return _passed_over(scan, why, best[0], spaces) or why
    if not any(scan is other for other in best):
        return _why_another(scan, best[0], spaces)
    if len(best) > 1:
        return Refusal.AMBIGUOUS.of(", ".join(other.sources.data.name for other in best))
    return scan.problem


def _passed_over(
    scan: Scan, why: Reason | None, taken: Scan, spaces: Mapping[str, int]
) -> Reason | None:
    """Say that an image would come before the one that is taken, had it been fetched."""
    if why is None or why.refusal not in UNFETCHED:
        return None
    first = _rank(scan.entities, spaces) < _rank(taken.entities, spaces)
    return Refusal.PASSED_OVER.of(why, taken.sources.data.name) if first else None


def _why_another(scan: Scan, chosen: Scan, spaces: Mapping[str, int]) -> Reason:
    here, there = _key(scan.entities), _key(chosen.entities)
    if here == there:
        return Refusal.SAME_RUN.of(chosen.sources.data.name)
    if spaces[here] == spaces[there]:
        why = f"it comes first at {spaces[there]} parcels in both"
    else:
        why = f"{spaces[there]} parcels there, {spaces[here]} here"
    return Refusal.BETTER_SPACE.of(there, why)
