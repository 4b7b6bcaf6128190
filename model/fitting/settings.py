"""What is fitted, to which scans, and how they weigh: the section ``[fit]`` of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from model.errors import ConfigError, some
from model.files.settings import Count, Limits, Positive, Share, Strict
from model.partition.groups import row_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.partition.groups import Group

Weigh = Literal["cohorts", "windows"]
ShortBy = Literal["repeated", "random"]
Kind = Literal["parcels", "whitened", "components"]


@dataclass(frozen=True, kw_only=True)
class Mixture(Strict):
    """What the first weights of some rows mix, by the mean correlation C of people.

    ``parcels`` as they are; ``whitened``: directions in which ``(1 - s) C + s I`` has variance 1,
    so that what all people share does not stand out: they tell people apart; ``components``: the
    first principal components of C, each divided by the root of its standard deviation: they
    tell what the whole brain does.
    """

    rows: tuple[str, ...]
    """Groups, for all of their rows, or single rows."""
    of: tuple[Kind, ...]
    """Each is mixed in an equal part of a token's channels."""
    shrinkage: Share | None = None
    """s, where parcels are whitened."""
    n_components: Count | None = None
    contrasts: bool = False
    """Mix parcels against one another: weights sum to zero over cortex, and over all else, so that
    a signal that all parcels of a group share, such as breath or motion, is not seen."""
    weight: Positive = 1.0
    """Of these rows among whitened tokens, in which all else has the same variance: what tells
    states apart need not drown what tells people apart where vectors are compared as they are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        given = {"whitened": self.shrinkage, "components": self.n_components}
        wrong = [kind for kind, value in given.items() if (kind in self.of) != (value is not None)]
        if wrong or not self.of or not self.rows:
            of, rows = ", ".join(self.of) or "nothing", ", ".join(self.rows) or "no"
            raise ConfigError(
                f"a mixture of {of} in {rows} rows, shrinkage {self.shrinkage}, n_components "
                f"{self.n_components}: expected rows, what they mix, shrinkage for whitened and "
                "n_components for components, and neither without."
            )


def mixture_of_rows(groups: Sequence[Group], mixtures: Sequence[Mixture]) -> list[Mixture | None]:
    """Return for each row of a grid (N,) the last mixture that names it or its group, if any.

    Raises
    ------
    ConfigError
        One names a group or row that there is not.
    """
    known = {name for group in groups for name in (group.name, *group.rows)}
    unknown = [name for mixture in mixtures for name in mixture.rows if name not in known]
    if unknown:
        raise ConfigError(
            f"fit.mixtures: no such group or row: {some(unknown)}.",
            hint=f"The encoder has {some(list(row_names(groups)))}.",
        )
    return [
        next((m for m in reversed(mixtures) if {group.name, row} & set(m.rows)), None)
        for group in groups
        for row in group.rows
    ]


@dataclass(frozen=True, kw_only=True)
class FitConfig(Strict):
    """Scans to fit to. Without shards, and in rows that no stored scan has, simulated ones."""

    shards: tuple[str, ...] = ()
    """Folders of stored series, one a cohort; covariances are those within a cohort."""
    subjects: str = ""
    """File of the subjects to fit to, one a line, in each of the folders, such as ``train.txt``;
    empty: all."""
    weigh: Weigh = "cohorts"
    """What weighs the same: ``cohorts``, so that a large one does not decide alone, for what all
    have in common is what holds in the next; or ``windows``."""
    simulated: Share = 0.0
    """Weight of the simulator beside the stored scans, in rows that they have."""
    mixtures: tuple[Mixture, ...] = ()
    """What the first weights of rows mix; where a row is named twice, the last counts. Needs
    ``run.init = "centred"``."""
    short: Annotated[int, Limits(0, 64, "from 0 to 64")] = 0
    """Length of a short form of the scan vector, in dimensions of a token; 0: none."""
    short_by: ShortBy = "random"
    """Its directions: orthogonal ``random`` ones, for which whitened tokens are enough, or those
    in which people repeat themselves from session to session (``repeated``), which dozens of
    people do not show (docs/pretraining.md)."""
    short_shrinkage: Share = 0.3
    """Of ``repeated`` ones: share of the mean variance in the variance that they are held
    against."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.shards)) < len(self.shards):
            raise ConfigError(f"fit.shards {self.shards}: a folder stands there twice.")
        if self.shards and self.simulated == 1:
            raise ConfigError(
                "fit.simulated 1 leaves the stored scans without weight.",
                hint="Leave fit.shards away, or lower it.",
            )
