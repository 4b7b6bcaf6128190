"""Settings that change the numbers of series that others made, apart from the checkpoint."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bids_app import __version__
from bids_app.options import settings_hash
from model.files.settings import Option, Strict
from model.files.shared_options import NormalizationOption, RepetitionTime

if TYPE_CHECKING:
    from model.spec import CheckpointCard

Order = Literal["schaefer400x7", "schaefer400x7+tian50", "tian-first-450", "semantoks457"]


@dataclass(frozen=True, kw_only=True)
class SeriesOptions(Strict):
    """How the files are read and normalized."""

    tr_s: RepetitionTime = None
    """Repetition time in seconds; None: each file's sidecar has it."""
    order: Annotated[
        Order | None,
        Option("--order", "Which parcels the columns are, in files that do not name them."),
    ] = None
    ignore_others: Annotated[
        bool,
        Option(
            "--ignore-other-columns",
            "Leave out named columns that are no parcel of the model; default: refuse the file.",
        ),
    ] = False
    normalization: NormalizationOption = None
    """None: as the checkpoint was trained."""

    def shared(self, card: "CheckpointCard") -> dict[str, Any]:
        """Return what the scans of a table must have in common."""
        return {
            "version": __version__,
            "input": "parcel series",
            "checkpoint": card.identity(),
            "signal": {"normalization": card.input_with(self.normalization).normalization},
        }

    def configuration(self, card: "CheckpointCard") -> str:
        """Return ``SETTINGS-READING``: scans with the same first part may share a table."""
        return f"{settings_hash(self.shared(card))}-{settings_hash(asdict(self), length=8)}"
