"""In words, how the settings of scans differ that cannot stand in one table."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from model.errors import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    flat = [(dict(_flattened(settings)), n_scans) for settings, n_scans in found]
    lines, told = [], set()
    for key in dict.fromkeys(key for settings, _ in flat for key in settings):
        # A strategy of another name differs in much, and what its name says is enough.
        if key.rpartition(".")[0] in told:
            continue
        counts: Counter[str] = Counter()
        for settings, n_scans in flat:
            counts[json.dumps(settings.get(key, _ABSENT.get(key)), ensure_ascii=False)] += n_scans
        if len(counts) > 1:
            values = some([f"{_words(v)} ({n} scan{'s' * (n > 1)})" for v, n in counts.items()])
            told.add(_WHOLE.get(key))
            lines.append(f"{_NAMES.get(key, key)}: {values}")
    return lines


def _flattened(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{before}{key}.")
        else:
            yield before + key, value


def _words(value: str) -> str:
    text = "none" if value == "null" else value.strip('"')
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
