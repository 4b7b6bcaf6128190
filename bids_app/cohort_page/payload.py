"""The data inside the page, as its script takes them: columns, not rows, and few digits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bids_app.cohort_page.scans import badge, counted, outcome
from bids_app.quality.measures import BY_KEY, WORDS
from model.figures import style

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_app.cohort_page.findings import Compared, Findings
    from bids_app.cohort_page.identity import Compared as ComparedUnit
    from bids_app.cohort_page.scans import Column, PageScan

DIGITS = 4
"""Kept of a number: a figure shows no more, the tables have all."""
MOST_LABELS = 60
"""A column of more different texts is an identifier or a remark, and colours nothing."""


def payload(scans: Sequence[PageScan], findings: Findings) -> dict[str, Any]:
    """Return everything that the script draws from, ready for JSON.

    ``scans`` holds lists as long as there are scans; ``columns`` what they are told apart by;
    ``spaces`` what their embeddings say, once per group table.
    """
    return {
        "scans": {
            "name": [scan.name for scan in scans],
            "page": [scan.page for scan in scans],
            "status": _levels([outcome(scan.status) for scan in scans]),
            "reason": _levels([scan.reason for scan in scans]),
            "flags": _levels([", ".join(scan.flags).replace("_", " ") for scan in scans]),
            "remarks": _remarks(scans, findings),
        },
        "columns": [_column(column, scans) for column in findings.columns],
        "judgements": [*WORDS.items()],
        "badges": {outcome(status): badge(status) for status in counted(scans)},
        "outliers": [[one.place, one.key] for one in findings.outliers],
        "spaces": [_space(one) for one in findings.compared],
        "colours": {"categories": style.CATEGORIES, "steps": style.STEPS},
    }


def _remarks(scans: Sequence[PageScan], findings: Findings) -> dict[str, Any]:
    """Say of each scan what stands out in the cohort."""
    words: list[dict[str, None]] = [{} for _ in scans]
    for one in findings.compared:
        for suspect in one.identity.suspects:
            for place in suspect.unit.scans:
                words[one.places[place]]["label in doubt"] = None
        for group in one.copies:
            for place in group:
                words[place]["same data twice"] = None
    for outlier in findings.outliers:
        words[outlier.place]["outlier"] = None
    return _levels([", ".join(said) for said in words])


def _levels(values: Sequence[str | None]) -> dict[str, Any]:
    """Write labels once each: ``levels`` and, for every scan, which (-1: none)."""
    levels = sorted({value for value in values if value})
    place = {level: number for number, level in enumerate(levels)}
    return {"levels": levels, "codes": [place.get(value or "", -1) for value in values]}


def _column(column: Column, scans: Sequence[PageScan]) -> dict[str, Any]:
    said: dict[str, Any] = {"key": column.key, "name": column.name, "about": column.about}
    if not column.is_number:
        texts = [None if value is None else str(value) for value in column.values]
        return said | _levels(texts) | {"colours": len(set(texts)) <= MOST_LABELS}
    said["values"] = _numbers(column.values)
    if is_measured(column):
        measure = BY_KEY[column.key]
        said |= {
            "form": measure.form,
            "unit": measure.unit,
            "above": _finite(measure.above),
            "below": _finite(measure.below),
            "limit": measure.limit_text,
            "judged": _judged(column, scans),
        }
        if measure.usual is not None:
            usual = measure.usual
            said["usual"] = [usual.low, usual.high, measure.usual_text, usual.source, usual.n]
    return said


def _judged(column: Column, scans: Sequence[PageScan]) -> str:
    """Judge a quality number of every scan: a digit each, its place among `WORDS`."""
    measure, place = BY_KEY[column.key], {word: str(at) for at, word in enumerate(WORDS)}
    return "".join(
        place[measure.judge(value if isinstance(value, int | float) else None, flags=scan.flags)]
        for value, scan in zip(column.values, scans, strict=True)
    )


def is_measured(column: Column) -> bool:
    """Tell whether a column is a quality number, with a name, a meaning and perhaps a limit."""
    return column.about == "quality" and column.key in BY_KEY and column.is_number


def _space(one: Compared) -> dict[str, Any]:
    spread = one.spread
    return {
        "name": one.space,
        "places": list(one.places),
        "pca": _map(one.pca),
        "umap": _map(one.umap),
        "spread": {
            "edges": _numbers(spread.edges),
            "kinds": {
                name: {"n": kind.n_pairs, "quartiles": _numbers(kind.quartiles),
                       "shares": _numbers(kind.shares)}
                for name, kind in spread.kinds.items()
            },
        },
        "units": [_unit(unit, one) for unit in one.identity.compared],
    }  # fmt: skip


def _unit(compared: ComparedUnit, one: Compared) -> list[Any]:
    """Write a compared session: its first scan, own, other, the nearest's first scan, sureness."""
    return [
        one.places[compared.unit.scans[0]],
        _finite(compared.own),
        _finite(compared.other),
        one.places[compared.nearest.scans[0]],
        2 if compared.is_suspected else int(compared.is_closer),
    ]


def _map(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    axes = [_numbers(axis) for axis in found.points.T.tolist()]
    return {"axes": axes, "shares": _numbers(found.shares)}


def _numbers(values: Iterable[Any]) -> list[float | int | None]:
    return [_finite(value) for value in values]


def _finite(value: Any) -> float | int | None:
    """Round to `DIGITS`; None for what JSON cannot say."""
    if value is None or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return value
    rounded = float(f"{float(value):.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded
