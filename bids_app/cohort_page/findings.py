"""What there is to say of a cohort: columns, outliers, identity, similarity, maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bids_app.cohort_page import maps
from bids_app.cohort_page.identity import check_identity
from bids_app.cohort_page.outliers import outliers
from bids_app.cohort_page.scans import columns_of
from bids_app.cohort_page.similarity import (
    centred,
    coded,
    same_data,
    spread,
    unit_rows,
    usual,
)
from bids_app.quality.measures import MEASURES
from model.series import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bids_app.cohort_page.identity import IdentityCheck
    from bids_app.cohort_page.maps import Map
    from bids_app.cohort_page.outliers import Outlier
    from bids_app.cohort_page.scans import Column, Embedded, PageScan
    from bids_app.cohort_page.similarity import FloatArray, Spread


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """What the embeddings of one group table say."""

    space: str
    places: tuple[int, ...]
    usual: FloatArray
    """(n,) mean similarity to the scans of everybody else"""
    identity: IdentityCheck
    """Its units hold places among the scans of the page"""
    spread: Spread
    pca: Map | None
    umap: Map | None
    copies: tuple[tuple[int, ...], ...]
    """Scans with the very same embedding"""

    __repr__ = shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What there is to say of a cohort."""

    columns: tuple[Column, ...]
    compared: tuple[Compared, ...]
    outliers: tuple[Outlier, ...]

    __repr__ = shown


def find(
    scans: Sequence[PageScan], embedded: Sequence[Embedded], *, with_umap: bool = False
) -> Findings:
    """Look at a cohort from all sides."""
    columns = columns_of(scans, {measure.key: measure.name for measure in MEASURES})
    compared = [_compare(one, scans, with_umap=with_umap) for one in embedded if one.places]
    similarity = np.full(len(scans), np.nan)
    for one in compared:
        similarity[list(one.places)] = one.usual
    found = outliers(
        [column for column in columns if column.about == "quality"],
        {measure.key: measure.better for measure in MEASURES},
        similarity if len(compared) == 1 else None,
    )
    return Findings(columns=tuple(columns), compared=tuple(compared), outliers=tuple(found))


def _compare(one: Embedded, scans: Sequence[PageScan], *, with_umap: bool) -> Compared:
    its = [scans[place] for place in one.places]
    people, sessions = coded([s.person for s in its]), coded([s.session for s in its])
    pca, umap = _maps(one, with_umap=with_umap)
    # One after the other: each holds rows as large as the embeddings.
    rows = centred(one.vectors, coded([s.task for s in its]))
    identity = check_identity(
        rows,
        [scan.person for scan in its],
        [scan.session for scan in its],
        [scan.name for scan in its],
    )
    unit = unit_rows(rows)
    del rows
    return Compared(
        space=one.space,
        places=one.places,
        usual=usual(unit, people),
        identity=identity,
        spread=spread(unit, people, sessions),
        pca=pca,
        umap=umap,
        copies=tuple(tuple(one.places[i] for i in group) for group in same_data(one.vectors)),
    )


def _maps(one: Embedded, *, with_umap: bool) -> tuple[Map | None, Map | None]:
    """Draw the maps; the rows they are of, as large as the embeddings, are not kept."""
    umap = maps.umap(unit_rows(centred(one.vectors))) if with_umap else None
    return maps.pca(centred(one.vectors)), umap
