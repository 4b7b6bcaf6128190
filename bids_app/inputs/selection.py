"""What the user asked for: participants, sessions, tasks, runs, space, and a filter file."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bids_app.atlas.spaces import SPACES
from bids_app.errors import NothingSelectedError, OptionsError
from model.errors import some
from model.files.settings import Option, Strict
from model.files.shared_options import TaskIds

if TYPE_CHECKING:
    from bids_app.inputs.entities import Entities


_LABELS = (
    ("participant_labels", "sub", "--participant-label"),
    ("exclude_participant_labels", "sub", "--exclude-participant-label"),
    ("session_labels", "ses", "--session-label"),
    ("task_ids", "task", "--task-id"),
    ("run_labels", "run", "--run-label"),
)
_SECTIONS = ("bold", "sbref", "fmap", "t1w", "t2w", "flair", "roi", "dwi", "asl", "pet")
"""Of a filter file of fMRIPrep, and of programs that take the same"""
_NO_ENTITIES = ("absolute_paths", "filters", "invalid_filters", "return_type", "scope", "target")
"""What pybids' ``get`` takes beside entities, some of which would switch filters off"""

_CHOICES = ("auto", "each", *SPACES)


@dataclass(frozen=True, kw_only=True)
class Selection(Strict):
    """Which scans to take; an empty tuple means all.

    Labels may come as they are typed: with prefix, several in one, or as a file of labels; they
    are kept without.

    Raises
    ------
    OptionsError
        A label that no BIDS name can hold, an unknown space, an unreadable file.
    """

    participant_labels: Annotated[
        tuple[str, ...],
        Option(
            "--participant-label",
            "Participants, with or without 'sub-', or a text file with one per line.",
            metavar="LABEL ...",
        ),
    ] = ()
    exclude_participant_labels: Annotated[
        tuple[str, ...],
        Option("--exclude-participant-label", "Participants to leave out.", metavar="LABEL ..."),
    ] = ()
    session_labels: Annotated[
        tuple[str, ...],
        Option(
            "--session-label --session-id",
            "Sessions, with or without 'ses-'.",
            metavar="LABEL ...",
        ),
    ] = ()
    task_ids: TaskIds = ()
    run_labels: Annotated[
        tuple[str, ...],
        Option(
            "--run-label --run-id",
            "Runs, with or without 'run-'; 1 selects 01 too.",
            metavar="LABEL ...",
        ),
    ] = ()
    space: Annotated[
        str,
        Option(
            "--space",
            "Space of the BOLD series, fsLR for CIFTI; auto takes all runs in one, that which "
            "serves most of them; each takes every run in the one whose atlas covers most "
            "parcels, which mixes spaces.",
            choices=_CHOICES,
        ),
    ] = "auto"
    bids_filter_file: Annotated[
        Path | None,
        Option(
            "--bids-filter-file",
            "JSON of pybids filters in fMRIPrep's format; its 'bold' entry is used.",
            path="file",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, key, flag in _LABELS:
            labels = _labels(getattr(self, field), key, flag)
            object.__setattr__(self, field, labels)
        if self.space not in _CHOICES:
            raise OptionsError(
                f"--space {self.space}: expected one of {', '.join(_CHOICES)}.",
                hint="Native space and surfaces of single hemispheres are not read.",
            )
        self.bids_filters  # noqa: B018 - a wrong file ends the command before anything is read

    @cached_property
    def bids_filters(self) -> Mapping[str, Any]:
        """The ``bold`` part of the filter file, as JSON gives it."""
        return {} if self.bids_filter_file is None else load_bids_filter(self.bids_filter_file)

    def participants(self, available: Sequence[str]) -> tuple[str, ...]:
        """Return the participants to process, in the order of `available`.

        Raises
        ------
        OptionsError
            A label that the dataset does not have; near ones are named.
        NothingSelectedError
            Every participant is excluded.
        """
        _refuse_unknown(self.participant_labels, available, "--participant-label")
        _refuse_unknown(self.exclude_participant_labels, available, "--exclude-participant-label")
        wanted = self.participant_labels or available
        chosen = tuple(
            label
            for label in available
            if label in wanted and label not in self.exclude_participant_labels
        )
        if not chosen:
            raise NothingSelectedError("every selected participant is excluded.")
        return chosen

    def wants(self, entities: "Entities") -> bool:
        """Tell whether a run's session, task and run labels are asked for."""
        return (
            (not self.session_labels or entities.ses in self.session_labels)
            and (not self.task_ids or entities.task in self.task_ids)
            and (not self.run_labels or _run_wanted(entities.run, self.run_labels))
        )

    def unmatched(self, found: "Sequence[Entities]") -> dict[str, list[str]]:
        """Return the session, task and run labels asked for that no file has.

        Each with those that files have in its place.
        """
        sessions = {one.ses for one in found if one.ses}
        tasks = {one.task for one in found if one.task}
        runs = {one.run for one in found if one.run}
        asked = (
            ("ses", self.session_labels, sessions),
            ("task", self.task_ids, tasks),
            ("run", self.run_labels, runs),
        )
        return {
            f"{key}-{label}": [f"{key}-{one}" for one in sorted(there)]
            for key, labels, there in asked
            for label in labels
            if label not in there
            and not (key == "run" and any(_run_wanted(run, [label]) for run in runs))
        }


def load_bids_filter(path: Path) -> dict[str, Any]:
    """Read the ``bold`` part of a filter file in fMRIPrep's format.

    Other parts (``t1w``, ``fmap``) concern files that are not read here; they are ignored,
    so that the file fMRIPrep was run with can be given again.

    Raises
    ------
    OptionsError
        Not a JSON object of objects, a section or value that would select everything.
    """
    from model.files.faults import faults_as
    from model.files.read import read_json

    where = f"--bids-filter-file {path}"
    with faults_as(OptionsError, where=where):
        content = read_json(path)
    odd = [key for key in content if key not in _SECTIONS]
    if odd and ("bold" not in content or "bold" in map(str.casefold, odd)):
        raise OptionsError(
            f"{where}: expected the section 'bold', found {', '.join(map(repr, odd))}.",
            hint=f"Sections of fMRIPrep: {', '.join(_SECTIONS)}; those but bold are ignored.",
        )
    bold = content.get("bold", {})
    if not isinstance(bold, dict):
        raise OptionsError(
            f'{where}: expected {{"bold": {{"<entity>": <value>, …}}}}.',
            hint="See the --bids-filter-file format of fMRIPrep.",
        )
    for key, value in bold.items():
        if why := _why_no_filter(key, value, regex=bold.get("regex_search") is True):
            raise OptionsError(
                f"{where}: {key}: {value!r:.80} {why}.",
                hint="An entity takes text, a whole number, null, '*', or a list of these.",
            )
    return bold


def _why_no_filter(key: str, value: Any, *, regex: bool) -> str:
    """Say why pybids would not filter by a value as it was meant; empty: it does."""
    if key == "regex_search":
        return "" if isinstance(value, bool) else "is neither true nor false"
    if key in _NO_ENTITIES:
        return "is an argument of pybids, not an entity"
    listed = value if isinstance(value, list) else [value]
    if not listed:
        return "is empty and would select everything"
    known = (one is None or (isinstance(one, int | str) and one != "") for one in listed)
    if not all(known) or any(isinstance(one, bool) for one in listed):
        return "is nothing that an entity can be"
    if any(isinstance(one, int) and abs(one) >= 1 << 63 for one in listed):
        return "is too large a number"
    return _why_no_pattern(one for one in listed if regex and isinstance(one, str) and one != "*")


def _why_no_pattern(patterns: Iterable[str]) -> str:
    try:
        for pattern in patterns:
            re.compile(pattern)
    except Exception as err:  # noqa: BLE001 of re: a fault in it, too deep, too large
        return f"is no regular expression ({err})"
    return ""


def _run_wanted(run: str | None, labels: Sequence[str]) -> bool:
    from bids_app.inputs.entities import same_run_label

    return run is not None and any(same_run_label(run, label) for label in labels)


def _labels(values: Iterable[str], key: str, flag: str) -> tuple[str, ...]:
    """Split lists at commas and blanks, strip one prefix, drop repetitions.

    An option that was given but holds no label must not select everything, as it would if it
    had not been given: a job list that is one line too short asks for just that.
    """
    given = list(values)
    words = _from_files(given) if key == "sub" else [w for v in given for w in _words(v)]
    if given and not words:
        raise OptionsError(
            f"{flag} {' '.join(map(repr, given))}: expected at least one label, found none.",
            hint="Leave the option out to select all.",
        )
    wrong = [w for w in words if not re.fullmatch(r"[0-9A-Za-z+]+", w.removeprefix(f"{key}-"))]
    if wrong:
        raise OptionsError(
            f"{flag} {some([*map(_shown, wrong)])}: not a label of {key}-.",
            hint="A BIDS label holds letters and digits only.",
        )
    labels = [_like(word, word.removeprefix(f"{key}-")) for word in words]
    return tuple(dict.fromkeys(labels))


class _Listed(str):
    """A label that stands in a file: messages name its place, for the file may be no list."""

    place = ""


def _shown(label: str) -> str:
    return label.place if isinstance(label, _Listed) else label


def _like(label: str, text: str) -> str:
    if not isinstance(label, _Listed):
        return text
    listed = _Listed(text)
    listed.place = label.place
    return listed


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def _from_files(values: Iterable[str]) -> list[str]:
    """Replace each path of a text file by the labels in it, one per line or a TSV's first column.

    A label holds neither dot nor slash, so nothing can be both.
    """
    from model.files.faults import faults_as
    from model.files.read import read_text

    words: list[str] = []
    for value in values:
        if "." not in value and "/" not in value:
            words += _words(value)
            continue
        with faults_as(OptionsError, what="neither a participant label nor a readable text file"):
            lines = read_text(Path(value)).splitlines()
        for number, line in enumerate(lines, start=1):
            listed = _Listed()
            listed.place = f"{value}, line {number}"
            found = [w for w in _words(line.split("\t")[0]) if w != "participant_id"]
            words += [_like(listed, word) for word in found]
    return words


def _refuse_unknown(labels: Sequence[str], available: Sequence[str], flag: str) -> None:
    unknown = [label for label in labels if label not in available]
    if not unknown:
        return
    near = sorted(
        {name for label in unknown for name in difflib.get_close_matches(label, available)}
    )
    raise OptionsError(
        f"{flag} {some([*map(_shown, unknown)])}: not among the {len(available)} participants of "
        "the dataset.",
        hint=f"Near ones: {', '.join(near)}."
        if near
        else f"There are, for example, {', '.join(available[:10])}.",
    )
