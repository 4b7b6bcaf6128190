"""Short task blocks as windows: one patch of data, the rest of the window masked.

The encoder sees 200 s; a block lasts some 20 s. As in the paper (arXiv 2512.11582, A.7), 40 s go
into one patch, and the four other patches are replaced by the learned mask token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import gamma

from model.errors import SeriesError
from model.series import Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.series import ParcelSeries
    from model.spec import InputSpec

Construction = Literal["pad", "continuous", "concatenated"]
Place = Literal["first", "last"]
CONSTRUCTIONS: tuple[Construction, ...] = ("pad", "continuous", "concatenated")
PLACES: tuple[Place, ...] = ("first", "last")
RESPONSE_THRESHOLD = 0.1
"""Part of the response's plateau above which a sample belongs to the block, as published."""
FINE_S = 0.05
"""Step of the convolution, in seconds."""
HRF_LENGTH_S = 32.0


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of a BIDS events table."""

    onset_s: float
    """After the first volume of the scan"""
    duration_s: float
    trial_type: str


@dataclass(frozen=True, kw_only=True)
class Response:
    """When the haemodynamic response to a block counts as there: exactly one of two models."""

    delay_s: float | None = None
    """The block itself, this much later"""
    double_gamma: bool = False
    """Where the block convolved with the canonical double-gamma HRF exceeds 0.1 of its plateau"""

    def __post_init__(self) -> None:
        if (self.delay_s is None) == (not self.double_gamma):
            raise SeriesError(
                "expected one model of the haemodynamic response: a delay in seconds, or the "
                "double-gamma HRF.",
                hint="The paper used an HRF-convolved regressor; a delay of some 5 s is simpler.",
            )

    def samples(self, event: Event, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        """Return the samples (n,), of those at these times (T,), that respond to an event."""
        if self.delay_s is not None:
            start = event.onset_s + self.delay_s
            inside = (times_s >= start) & (times_s < start + event.duration_s)
        else:
            inside = block_response(event, times_s) > RESPONSE_THRESHOLD
        return np.flatnonzero(inside)


@dataclass(frozen=True, kw_only=True)
class Block:
    """What one window holds."""

    trial_type: str
    events: tuple[Event, ...]
    """One, or the two that were concatenated"""
    samples: tuple[int, ...]
    """Samples of the series that fill the patch, in order; the rest of it is zero"""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An event that gives no window, and why."""

    event: Event
    reason: str


def double_gamma(times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Canonical response at times (n,): gammas peaking at 5 and 15 s, 1 : 1/6, sum not scaled."""
    return np.asarray(gamma.pdf(times_s, 6) - gamma.pdf(times_s, 16) / 6)


def block_response(event: Event, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Convolve an event with the HRF at times (n,); 1 is the plateau of an endless event."""
    lag_s = np.arange(0, HRF_LENGTH_S, FINE_S)
    integral = np.cumsum(double_gamma(lag_s))
    integral /= integral[-1]

    def reached(since_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.interp(since_s, lag_s, integral, left=0.0)

    since_s = times_s - event.onset_s
    return np.asarray(reached(since_s) - reached(since_s - event.duration_s))


def merge_events(events: Sequence[Event], *, gap_s: float) -> list[Event]:
    """Join successive events of one condition that follow within ``gap_s`` seconds."""
    merged: list[Event] = []
    for event in sorted(events, key=lambda e: e.onset_s):
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.trial_type == event.trial_type
            and event.onset_s - (last.onset_s + last.duration_s) <= gap_s
        ):
            end = max(last.onset_s + last.duration_s, event.onset_s + event.duration_s)
            merged[-1] = replace(last, duration_s=end - last.onset_s)
        else:
            merged.append(event)
    return merged


def find_blocks(
    series: ParcelSeries,
    events: Sequence[Event],
    *,
    response: Response,
    construction: Construction,
    spec: InputSpec,
) -> tuple[list[Block], list[LeftOut]]:
    """Choose the samples of each block.

    Parameters
    ----------
    series
        The whole scan, normalized, at the model's sampling.
    events
        Blocks; trials within one block must have been joined (`merge_events`).
    response
        Which samples respond to a block.
    construction
        ``pad``: the responding samples, zeros after them. ``continuous``: one patch of
        successive samples from the first responding one on, rest included. ``concatenated``:
        equally many responding samples of two successive blocks of one condition.

    Returns
    -------
    Blocks in order of time, and the events that give none.
    """
    usable: list[tuple[Event, npt.NDArray[np.intp]]] = []
    lost: list[LeftOut] = []
    for event in sorted(events, key=lambda e: e.onset_s):
        samples = _responding(event, response, series)
        if construction == "continuous" and samples.size:
            samples = samples[0] + np.arange(spec.patch_samples)
        samples = samples[: spec.patch_samples]
        if not samples.size:
            lost.append(LeftOut(event=event, reason="no sample responds to it"))
        elif samples[0] < 0 or samples[-1] >= series.n_frames:
            lost.append(LeftOut(event=event, reason="its response is not wholly in the scan"))
        else:
            usable.append((event, samples))
    if construction == "concatenated":
        blocks, single = _in_twos(usable, n_samples=spec.patch_samples // 2)
        return blocks, lost + single
    return [_block([event], samples) for event, samples in usable], lost


def block_windows(
    series: ParcelSeries, blocks: Sequence[Block], *, place: Place, spec: InputSpec
) -> Windows:
    """Put each block into the first or the last patch of a window of its own.

    Parameters
    ----------
    series
        (T, P) as it was given to `find_blocks`.
    place
        Patch that holds the data; training on both was the paper's augmentation.

    Returns
    -------
    Windows (W, P, L). The whole patch counts as data, its zeros after a short block too: that
    is the construction. The other patches are marked as padding, so their tokens are masked.
    """
    if series.unit != spec.normalization:
        raise SeriesError(
            f"expected a series in unit {spec.normalization}, found {series.unit}.",
            hint="Normalize the whole scan, not its blocks (model.preprocess.normalize).",
        )
    patch = slice(0, spec.patch_samples)
    if place == "last":
        patch = slice(spec.window_samples - spec.patch_samples, spec.window_samples)
    filled = np.where(series.missing, 0.0, series.values)
    values = np.zeros((len(blocks), filled.shape[1], spec.window_samples), dtype=np.float32)
    valid = np.zeros((len(blocks), spec.window_samples), dtype=bool)
    valid[:, patch] = True
    for window, block in zip(values, blocks, strict=True):
        window[:, patch.start : patch.start + len(block.samples)] = filled[list(block.samples)].T
    return Windows(
        values=values,
        valid=valid,
        start_s=np.array([series.start_s + b.samples[0] * series.tr_s for b in blocks]),
        missing=series.missing,
        spec=spec,
    )


def _responding(event: Event, response: Response, series: ParcelSeries) -> npt.NDArray[np.intp]:
    """Return the samples that respond to an event, also the next before and after the scan.

    Those further away would tell no more, and a table of events may name any number of seconds.
    """
    first = int(np.floor((event.onset_s - series.start_s) / series.tr_s))
    length_s = event.duration_s + max(HRF_LENGTH_S, response.delay_s or 0.0)
    end = first + int(np.ceil(length_s / series.tr_s)) + 2
    if end <= 0 or first >= series.n_frames:
        return np.array([-1 if end <= 0 else series.n_frames])
    samples = np.arange(max(first, -1), min(end, series.n_frames + 1), dtype=np.intp)
    times_s = series.start_s + series.tr_s * samples.astype(np.float64)
    return samples[response.samples(event, times_s)]


def _in_twos(
    usable: Sequence[tuple[Event, npt.NDArray[np.intp]]], *, n_samples: int
) -> tuple[list[Block], list[LeftOut]]:
    """Join successive blocks of each condition, first with second, third with fourth."""
    of_condition: dict[str, list[tuple[Event, npt.NDArray[np.intp]]]] = {}
    for event, samples in usable:
        of_condition.setdefault(event.trial_type, []).append((event, samples))
    blocks, single = [], []
    for found in of_condition.values():
        for (first, a), (second, b) in zip(found[::2], found[1::2], strict=False):
            n_each = min(len(a), len(b), n_samples)
            blocks.append(_block([first, second], np.concatenate([a[:n_each], b[:n_each]])))
        if len(found) % 2:
            single.append(LeftOut(event=found[-1][0], reason="no second block to join it with"))
    return sorted(blocks, key=lambda block: block.samples[0]), single


def _block(events: Sequence[Event], samples: npt.NDArray[np.intp]) -> Block:
    return Block(
        trial_type=events[0].trial_type,
        events=tuple(events),
        samples=tuple(int(sample) for sample in samples),
    )
