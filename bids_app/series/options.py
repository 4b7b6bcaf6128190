"""Settings that change the numbers of series that others made, apart from the checkpoint."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from bids_app import __version__
from model.files.settings import Option, Strict
from model.files.shared_options import NormalizationOption, RepetitionTime
from model.files.write import text_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def configuration(self, card: "CheckpointCard") -> str:
        """Return ``SETTINGS-READING``: scans with the same first part may share a table."""
        shared = {
            "version": __version__,
            "input": "parcel series",
            "checkpoint": asdict(card),
            "normalization": card.input_with(self.normalization).normalization,
        }
        return f"{_digest(shared, 16)}-{_digest(asdict(self), 8)}"


def _digest(settings: "Mapping[str, object]", length: int) -> str:
    return text_sha256(json.dumps(settings, sort_keys=True))[:length]
