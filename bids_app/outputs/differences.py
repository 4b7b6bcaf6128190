"""In words, how the settings of scans differ: of a cohort, or of a scan that is done anew."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from bids_app.options import settings_hash
from bids_app.outputs.status import finished, status_path
from model.cohort.names import SCAN
from model.cohort.outputs import EmbeddedScan
from model.errors import SemantoksError, numbered, some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bids_app.inputs.scan import Scan

    Settings = dict[str, Any]
    """What determines the numbers of a scan"""

_NAMES = {
    "version": "version of semantoks",
    "input": "kind of input",
    "space": "space (--space)",
    "strategy.name": "denoising strategy (--denoise-strategy)",
    "strategy.fd_threshold_mm": "limit of framewise displacement (--fd-threshold)",
    "signal.high_pass_hz": "lower edge of the filter (--high-pass)",
    "signal.low_pass_hz": "upper edge of the filter (--low-pass)",
    "signal.despike": "despiking (--no-despike)",
    "signal.min_coverage": "least coverage (--min-coverage)",
    "signal.dummy_scans": "volumes dropped at the start (--dummy-scans)",
    "signal.tr_s": "repetition time that was given (--tr)",
    "signal.trs_by_label": "repetition times by label (--tr-for)",
    "signal.normalization": "normalization (--normalization)",
    "checkpoint.name": "checkpoint (--checkpoint)",
    "checkpoint.version": "version of the checkpoint",
    "checkpoint.groups": "groups of parcels that the tokens are of",
    "checkpoint.weights": "weights of the checkpoint",
    "checkpoint.card": "card of the checkpoint",
}
_WHOLE = {"strategy.name": "strategy", "checkpoint.weights": "checkpoint"}
"""What need not be told apart from the key that tells it"""
_ABSENT = {"checkpoint.groups": "the nine networks"}
"""What a key that is not there stands for"""
_LETTERS = 60


def differences(found: Sequence[tuple[Mapping[str, Any], int]]) -> list[str]:
    """Say which settings differ, one line each, with every value and how many scans have it.

    Parameters
    ----------
    found
        Settings and number of scans, of each kind.

    Examples
    --------
    >>> differences([({"space": "A", "signal": {"tr_s": 2.0}}, 3), ({"space": "B"}, 1)])
    ['space (--space): A (3 scans), B (1 scan)', 'repetition time that was given (--tr): 2.0 (3 \
scans), none (1 scan)']
    """
    lines = []
    for name, values in _differing([settings for settings, _ in found]):
        counts: Counter[str] = Counter()
        for value, (_, n_scans) in zip(values, found, strict=True):
            counts[value] += n_scans
        told = some([f"{value} ({numbered(n, 'scan')})" for value, n in counts.items()])
        lines.append(f"{name}: {told}")
    return lines


def changed_settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Say which settings are others than before.

    Examples
    --------
    >>> changed_settings({"strategy": {"name": "default"}}, {"strategy": {"name": "simple"}})
    ['denoising strategy (--denoise-strategy): default -> simple']
    """
    return [f"{name}: {' -> '.join(values)}" for name, values in _differing([before, after])]


def replaced(
    scans: Iterable[Scan], output_dir: Path, settings: Callable[[Scan], Settings]
) -> tuple[int, list[str]]:
    """Count the scans that are embedded with other settings, and say how the first one's differ.

    Parameters
    ----------
    settings
        Returns what determines a scan's numbers now.

    Returns
    -------
    Their number, and a text for each setting; none where the files do not tell any more.
    """
    n_replaced, told = 0, list[str]()
    for scan in scans:
        record, now = finished(output_dir, scan), settings(scan)
        if record is None or record.status != "embedded" or record.settings == settings_hash(now):
            continue
        n_replaced += 1
        if not told:
            found = EmbeddedScan(status_path=status_path(output_dir, scan), record=record)
            with contextlib.suppress(SemantoksError):
                said = found.metadata(f"{SCAN}.json", Settings=dict)["Settings"]
                told = changed_settings(said, now)
    return n_replaced, told


def _differing(found: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """Yield the names of the settings that differ, with the values in words."""
    flat, told = [dict(_flattened(settings)) for settings in found], set()
    for key in dict.fromkeys(key for settings in flat for key in settings):
        # A strategy of another name differs in much, and what its name says is enough.
        if key.rpartition(".")[0] in told:
            continue
        values = [
            json.dumps(settings.get(key, _ABSENT.get(key)), ensure_ascii=False)
            for settings in flat
        ]
        if len({*values}) > 1:
            told.add(_WHOLE.get(key))
            yield _NAMES.get(key, key), [*map(_words, values)]


def _flattened(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{before}{key}.")
        else:
            yield before + key, value


def _words(value: str) -> str:
    text = "none" if value == "null" else value.strip('"')
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
