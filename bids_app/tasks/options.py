"""How the events of a task become windows for the encoder."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from bids_app.errors import OptionsError
from model.files.settings import NotNegative, Option, Strict

if TYPE_CHECKING:
    from model.tasks.block_windows import Response


@dataclass(frozen=True, kw_only=True)
class BlockOptions(Strict):
    """Which blocks there are, and how each is laid into a window."""

    construction: Annotated[
        Literal["pad", "continuous", "concatenated"],
        Option(
            "--construction",
            "Responding samples, then zeros; 40 s from the first one on; or two blocks in one "
            "patch.",
            required=True,
        ),
    ]
    hrf_delay_s: Annotated[
        NotNegative | None,
        Option(
            "--hrf-delay",
            "The response is the block, this much later. This or --double-gamma.",
            metavar="SECONDS",
        ),
    ] = None
    double_gamma: Annotated[
        bool,
        Option(
            "--double-gamma",
            "The response is where the block convolved with the canonical HRF exceeds 0.1.",
        ),
    ] = False
    place: Annotated[
        Literal["first", "last"],
        Option("--place", "Patch of the window that holds the block; the other four are masked."),
    ] = "first"
    merge_gap_s: Annotated[
        NotNegative | None,
        Option(
            "--merge-gap",
            "Trials of one condition that follow within this time are one block. "
            "Default: each row of events.tsv is a block.",
            metavar="SECONDS",
        ),
    ] = None
    conditions: Annotated[
        tuple[str, ...],
        Option("--condition", "Use only these; repeatable.", metavar="TRIAL_TYPE"),
    ] = ()
    """Trial types that are used; empty: all."""
    networks: Annotated[
        bool,
        Option(
            "--networks",
            "Also embed every block from each network alone: a table each, "
            "group_desc-blocksonly<Network>_embedding.tsv.",
        ),
    ] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.hrf_delay_s is None) == (not self.double_gamma):
            raise OptionsError(
                "expected --hrf-delay SECONDS or --double-gamma, and one of them only.",
                hint="The paper used an HRF-convolved regressor: --double-gamma.",
            )

    @property
    def response(self) -> "Response":
        """When the haemodynamic response to a block counts as there."""
        from model.tasks.block_windows import Response

        return Response(delay_s=self.hrf_delay_s, double_gamma=self.double_gamma)
