"""Tables for people at a terminal: aligned columns, the free text last."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bids_app.images.stream import count_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bids_app.inputs.discovery import Discovery
    from bids_app.inputs.eligible import BoldFile
    from bids_app.outputs.status import ScanOutcome


def outcome_lines(outcomes: Sequence[ScanOutcome]) -> str:
    """Return one line per run, then how many ended in which way."""
    rows = [(o.status, "now" if o.fresh else "earlier", o.scan.name, o.reason) for o in outcomes]
    return "\n".join([*_aligned(rows), _counts(o.status for o in outcomes)])


def discovery_lines(discovery: Discovery) -> str:
    """Return one line per BOLD file that was found, chosen or refused, then how many."""
    header = ("status", "space", "TR", "volumes", "confounds", "path", "reason")
    rows = [
        (file.status, file.space, *_times(file), file.confounds, file.path, file.why)
        for file in discovery.files
    ]  # fmt: skip
    return "\n".join(
        [*_aligned([header, *rows]), _counts(file.status for file in discovery.files)]
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return [
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _times(file: BoldFile) -> tuple[str, str]:
    """Return repetition time and number of volumes; the latter of images to be embedded."""
    if file.scan is None:
        return "", ""
    n_frames = None if file.reason else count_frames(file.scan.sources.data)
    return _text(file.scan.tr_s), _text(n_frames)


def _text(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


def _counts(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())
