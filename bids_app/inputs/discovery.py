"""What a derivative holds for a selection: the runs to process, and a reason for every other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bids_app.atlas.spaces import SPACES
from bids_app.errors import (
    AppError,
    AtlasError,
    InputError,
    NeverMadeError,
    NothingSelectedError,
)
from bids_app.inputs.choice import NO_ATLAS
from bids_app.inputs.companions import NOT_FETCHED
from bids_app.inputs.locate import has_confounds

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.inputs.scans import Scan


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One line of the discovery table."""

    path: str
    """Relative to the derivative."""
    entities: str
    """The run: what all its spaces share."""
    space: str
    status: Literal["chosen", "refused"]
    reason: str
    tr_s: float | None = None
    n_volumes: int | None = None
    confounds: Literal["yes", "no", "not fetched", ""] = ""


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a derivative holds for a selection."""

    root: Path
    scans: list[Scan]
    """In the order of paths."""
    rows: list[RunRow]
    """Every BOLD file of the selection, in the order of paths; both hemispheres are one."""
    n_outside: int
    """BOLD files of the participants that session, task, run or filter leave out."""
    participants: tuple[str, ...]
    """Labels of the selected participants."""

    def left_out(self) -> dict[str, str]:
        """Return why participants have no run to process: label to reasons."""
        served = {scan.entities.sub for scan in self.scans}
        reasons: dict[str, set[str]] = {p: set() for p in self.participants if p not in served}
        for row in self.rows:
            label = row.entities.split("_")[0].removeprefix("sub-")
            if label in reasons:
                reasons[label].add(row.reason)
        return {
            label: "; ".join(sorted(found)) or "no BOLD file matches the selection"
            for label, found in reasons.items()
        }

    def require_usable(self, *, confounds: bool) -> None:
        """Refuse a derivative that holds no run to process or, if asked, no confounds at all.

        Where only some runs lack their confounds, each of those fails by itself.

        Raises
        ------
        AppError
            Its ``exit_code`` says which.
        """
        if not self.scans:
            raise self.nothing_chosen()
        if confounds and not has_confounds(self.root):
            raise NeverMadeError(
                f"{self.root} holds BOLD series, but for no run a confounds table "
                "(…_desc-confounds_timeseries.tsv): fMRIPrep ran with --level resampling, or "
                "they were not copied.",
                hint="Rerun fMRIPrep with --level full. Without confounds only "
                "--denoise-strategy none is possible.",
            )

    def nothing_chosen(self) -> AppError:
        """Return the error to raise where ``scans`` is empty: the reasons, each once."""
        if not self.rows and not self.n_outside:
            return NothingSelectedError(
                f"{self.root}: the selected participants have no BOLD file."
            )
        if not self.rows:
            return NothingSelectedError(
                f"{self.root}: none of the {self.n_outside} BOLD files of the selected "
                "participants matches session, task, run and filter.",
                hint="--dry-run without these options shows what is there.",
            )
        if any(NOT_FETCHED in row.reason for row in self.rows):
            return InputError(
                f"{self.root}: the BOLD files are links into a git-annex that was not fetched.",
                hint="Run `datalad get` on the files that --dry-run lists.",
            )
        reasons = sorted({row.reason for row in self.rows})
        if any(NO_ATLAS in reason for reason in reasons):
            return AtlasError(
                f"{self.root}: no run is in a space with an atlas ({'; '.join(reasons)}).",
                hint="Install one with semantoks assets atlas, or name one with --atlas.",
            )
        return NothingSelectedError(
            f"{self.root}: found {len(self.rows)} BOLD files, none of which can be used "
            f"({'; '.join(reasons)}).",
            hint=f"Needed: desc-preproc volumes or CIFTI series in {' or '.join(SPACES)}; rerun "
            "fMRIPrep or nibabies with --output-spaces MNI152NLin6Asym:res-2 or --cifti-output "
            "91k.",
        )
