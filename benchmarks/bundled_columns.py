"""Columns of the bundled weights' embeddings of real scans, and how alike scans are by them.

What three texts say in numbers: which columns vary (`bids_app.group.table.CONSTANT`,
docs/outputs.md), which of them tell people apart among the scans that the weights were fitted to
(docs/series.md), and how alike scans of two people, of one, and of one acquisition in two
denoisings are (`bids_app.cohort_page.identity.ALMOST_SAME`). Cortex alone. Half a minute. Usage::

    python benchmarks/bundled_columns.py

Data: $SEMANTOKS_TEST_DATA, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from real_cohorts import COHORTS, scans
from stages import SHARED
from strangers import SPEC, state_series

from bids_app.cohort_page.similarity import centred, coded, neighbours, unit_rows
from bids_app.group.table import CONSTANT
from model.checkpoint import load_encoder
from model.embed import embed_windows
from model.preprocess import window
from model.statistics.measures import standardise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.encoder import Encoder
    from model.series import ParcelSeries

Array = npt.NDArray[np.float32]
Rows = dict[tuple[str, str], Array]
"""(N, D) by person and session, or run: means of the rows with a signal over all windows"""
SETS = ("stages-dev", "stages-single", "stages-8phys", "ds000220", "ds004592")
N_APART = 60
"""Columns of a row that tell people of STAGES apart; those after them do the contrary."""


def main() -> None:
    encoder = load_encoder()
    found = {name: dict(embedded(name, encoder)) for name in SETS}
    found["stages"] = found["stages-dev"] | found.pop("stages-single")
    found["fitted to"] = found["stages"] | found["ds000220"]
    for name, rows in found.items():
        tell(name, "scans", len(rows))
        tell_ranges(name, np.stack([*rows.values()]))
        tell_neighbours(name, rows)
    tell_people(found["stages-dev"])
    tell_denoisings(found["stages-dev"], found["stages-8phys"])


def embedded(name: str, encoder: Encoder) -> Iterator[tuple[tuple[str, str], Array]]:
    """Yield the embedded scans of a set."""
    for person, session, series in series_of(name):
        means = embed_windows(window(series, SPEC), encoder).networks.mean(axis=0)
        yield (person, session), means[~np.isnan(means).any(axis=1)]


def series_of(name: str) -> Iterator[tuple[str, str, ParcelSeries]]:
    """Yield the scans of a set as the app prepares them."""
    if name not in COHORTS:
        yield from state_series()
        return
    source = COHORTS[name]
    for scan in scans(source, [SHARED / "timeseries" / file for file in source.files], SPEC):
        yield scan.subject, scan.session, scan.series


def tell_ranges(name: str, rows: Array) -> None:
    """Tell how far columns of (n, N, D) reach, in shares of the widest of their row."""
    reach = np.ptp(rows, axis=0)
    share = reach / reach.max(axis=1, keepdims=True)
    is_constant = share <= CONSTANT
    tell(name, "constant columns, of each row", *is_constant.sum(axis=1))
    tell(name, "widest of them", f"{share[is_constant].max():.1e}")
    tell(name, "narrowest of the others", f"{share[~is_constant].min():.1e}")


def tell_neighbours(name: str, rows: Rows) -> None:
    """Tell how alike two scans are at most, by what the page of a cohort compares."""
    near = neighbours(vectors(rows), coded([person for person, _ in rows]))
    tell(name, "most alike, of one person", f"{np.nanmax(near.own):.2f}")
    tell(name, "most alike, of two", f"{np.nanmax(near.other):.2f}")


def vectors(*rows: Rows) -> Array:
    """(n, F) unit rows without their mean."""
    return unit_rows(centred(np.stack([one.ravel() for its in rows for one in its.values()])))


def tell_people(rows: Rows) -> None:
    """Tell how people correlate with themselves and with others, by ranges of columns."""
    people = sorted({person for person, _ in rows})
    sets = [
        np.stack([rows[person, session] for person in people]).astype(np.float64)
        for session in ("ses-1", "ses-2")
    ]
    reach = np.ptp(np.concatenate(sets), axis=0)
    n_varying = int((reach > CONSTANT * reach.max(axis=1, keepdims=True)).sum(axis=1).max())
    n = len(people)
    for part in (slice(0, N_APART), slice(N_APART, n_varying)):
        pair = standardise(*(one[..., part].reshape(n, -1) for one in sets))
        similarity = np.corrcoef(*pair)[:n, n:]
        own, others = np.diagonal(similarity).mean(), similarity[~np.eye(n, dtype=bool)].mean()
        tell("stages-dev", f"columns {part.start} to {part.stop - 1}", f"{own:.2f} {others:.2f}")


def tell_denoisings(one: Rows, other: Rows) -> None:
    """Tell how alike two denoisings of one acquisition are."""
    unit = vectors(one, {key: other[key] for key in one})
    alike = (unit[: len(one)] * unit[len(one) :]).sum(axis=1)
    tell("stages-dev, stages-8phys", "one acquisition", f"{alike.min():.2f} {alike.max():.2f}")


def tell(*words: object) -> None:
    print(*words, sep="\t", flush=True)


if __name__ == "__main__":
    main()
