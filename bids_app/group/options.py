"""Every setting of the group level, frozen; its part of the command line is made of these."""

# Without `from __future__ import annotations`: the command line is made of them at every start.
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from bids_app.errors import OptionsError
from model.files.settings import Option, Strict

SplitBy: TypeAlias = Literal["space"]
"""What there is one group table of"""


@dataclass(frozen=True, kw_only=True)
class GroupOptions(Strict):
    """What concerns the group level alone."""

    tsv: Annotated[
        bool,
        Option(
            "--tsv", "Group level: also write the table of embeddings as text, beside Parquet."
        ),
    ] = False
    split_by: Annotated[
        SplitBy | None,
        Option("--split-by", "Group level: write one table of each space, instead of one of all."),
    ] = None
    windows: Annotated[
        bool,
        Option("--windows", "Group level: also write a table of all windows."),
    ] = False
    tokens: Annotated[
        bool,
        Option("--tokens", "Group level: also write a table of all tokens, which is large."),
    ] = False
    npz: Annotated[
        bool,
        Option("--npz", "Group level: write windows and tokens as arrays (NPZ) too."),
    ] = False
    anndata: Annotated[
        bool,
        Option("--anndata", "Group level: also write an .h5ad for AnnData (semantoks[anndata])."),
    ] = False
    connectivity: Annotated[
        bool,
        Option(
            "--connectivity",
            "Group level: also write the Pearson correlations of each scan's parcels, beside its "
            "other files.",
        ),
    ] = False
    fisher_z: Annotated[
        bool,
        Option("--fisher-z", "Group level: with --connectivity, Fisher's z of them too."),
    ] = False
    harmonize: Annotated[
        str | None,
        Option(
            "--harmonize",
            "Group level: also write the table without effects of the sites in this column "
            "(ComBat), learned from everybody, or of --splits from train.",
            metavar="COLUMN",
        ),
    ] = None
    """Writes a second table of embeddings; that of the raw ones stays what it is."""
    harmonize_keep: Annotated[
        tuple[str, ...],
        Option(
            "--harmonize-keep",
            "Group level: columns whose effects --harmonize leaves in, such as age and sex.",
            metavar="COLUMN ...",
        ),
    ] = ()
    splits: Annotated[
        Path | None,
        Option(
            "--splits",
            "Group level: table of a fixed split (participant_id, split: train, validation, "
            "test), of which --harmonize learns from train.",
            path="any",
        ),
    ] = None
    """Those of ``train`` alone are learned from by --harmonize; None: everybody"""
    umap: Annotated[
        bool,
        Option("--umap", "Group level: a map by UMAP in group.html too (semantoks[umap])."),
    ] = False
    exclude_scans: Annotated[
        Path | None,
        Option(
            "--exclude-scans",
            "Group level: scans to leave out of tables and group.html: a table with a column scan "
            "and, if wanted, reason, or one scan a line.",
            metavar="FILE",
            path="file",
        ),
    ] = None
    participants: Annotated[
        Path | None,
        Option(
            "--participants",
            "Table with participant_id and columns about people, such as participants.tsv.",
            metavar="FILE",
            path="any",
        ),
    ] = None
    """Joined to the tables, from the file or the ``participants.tsv`` of a dataset's folder"""
    sessions: Annotated[
        Path | None,
        Option(
            "--sessions-table",
            "Group level: join columns of sessions: a table with participant_id and session_id, "
            "or a dataset's folder with sub-*/sub-*_sessions.tsv.",
            metavar="FILE|FOLDER",
            path="any",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        alone = [
            (self.fisher_z and not self.connectivity, "--fisher-z", "--connectivity"),
            (self.npz and not (self.windows or self.tokens), "--npz", "--windows or --tokens"),
            (bool(self.harmonize_keep) and not self.harmonize, "--harmonize-keep", "--harmonize"),
            (self.splits is not None and not self.harmonize, "--splits", "--harmonize"),
        ]
        for is_alone, flag, needed in alone:
            if is_alone:
                raise OptionsError(f"{flag} goes with {needed}.")
        kept = self.harmonize_keep
        if twice := [name for name, n in Counter(kept).items() if n > 1]:
            raise OptionsError(f"--harmonize-keep {twice[0]}: given twice.")
        if self.harmonize in kept:
            raise OptionsError(
                f"--harmonize-keep {self.harmonize}: is the column whose effect --harmonize "
                "takes out."
            )
