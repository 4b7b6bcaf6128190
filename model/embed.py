"""From a series or its windows to a scan embedding: batches, device, eval mode, fp32 out."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from model.errors import ConfigError, SeriesError
from model.invocation import interrupts
from model.networks import parcel_names
from model.partition.groups import summary
from model.preprocess import to_windows
from model.series import EmbeddedSeries, ParcelSeries, ScanEmbedding, Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from model.encoder import Encoder
    from model.layers import ShortForm
    from model.series import BoolArray, FloatArray
    from model.spec import Normalization, ReadoutPart

Precision = Literal["fp32", "bf16"]

BATCH_SIZE = 16
"""Windows at a time; docs/encoder.md has the measurement."""


def embed_series(
    values: npt.ArrayLike,
    *,
    tr_s: float,
    encoder: Encoder,
    interpolated: npt.ArrayLike | None = None,
    readout: tuple[ReadoutPart, ...] | None = None,
    normalization: Normalization | None = None,
    batch_size: int = BATCH_SIZE,
) -> ScanEmbedding:
    """Embed the denoised parcel series of one scan.

    Parameters
    ----------
    values
        (T, P) series in the order of ``model/data/parcels.tsv``, in any unit; NaN in every
        frame where a parcel is missing. They are resampled and normalized, but not filtered:
        the card's ``input.band_hz`` says what the weights were trained on.
    tr_s
        Repetition time in seconds.
    encoder
        As from `model.checkpoint.load_encoder`.
    interpolated
        (T,) true where a frame was not measured but interpolated, such as in motion: it does
        not enter mean and spread. None: all frames were measured. For a ``desc-denoised``
        table of the app, whose first volumes may have been dropped, ``outliers.tsv`` beside it
        tells: ``outliers.interpolated[outliers.dropped == 0]``.
    readout
        Parts of the default scan vector, in order; None: the card's.
    normalization
        ``robust`` (with despiking) or ``zscore`` per parcel over the scan; None: the card's.
    batch_size
        Windows at a time; the result does not depend on it.

    Raises
    ------
    SeriesError
        If the series has the wrong shape or named columns in another order, is too short, or no
        network has a signal.
    ConfigError
        If the encoder has no card.

    Examples
    --------
    >>> from semantoks import embed_series, load_encoder
    >>> values = np.random.default_rng(0).normal(size=(400, 457))
    >>> values[:, 450:] = np.nan  # no cerebellum in the field of view
    >>> embedding = embed_series(values, tr_s=0.8, encoder=load_encoder())
    >>> embedding.cls.shape  # three windows in 320 s
    (3, 256)
    >>> embedding.missing_networks
    ('Cerebellum',)
    >>> embedding.scan_vector().shape
    (4096,)
    """
    names = [name for name in getattr(values, "columns", ()) if isinstance(name, str)]
    if names and names != list(parcel_names()):
        raise SeriesError(
            "the table's columns are not the parcels in the model's order.",
            hint="Order them by semantoks.parcel_names(), or pass an array whose order you know.",
        )
    series = ParcelSeries(
        values=np.asarray(values),
        tr_s=tr_s,
        unit="residual",
        kept=None if interpolated is None else ~np.asarray(interpolated, dtype=bool),
    )
    return embed_residual(
        series, encoder, readout=readout, normalization=normalization, batch_size=batch_size
    ).embedding


def embed_residual(
    series: ParcelSeries,
    encoder: Encoder,
    *,
    readout: tuple[ReadoutPart, ...] | None = None,
    normalization: Normalization | None = None,
    batch_size: int = BATCH_SIZE,
) -> EmbeddedSeries:
    """Take a denoised series to its embedding: the one path of app, Python and evaluation.

    Parameters
    ----------
    series
        (T, P) in unit ``residual``, at any TR; frames that are not ``kept`` were interpolated.
    encoder, readout, normalization, batch_size
        As in `embed_series`.

    Returns
    -------
    The series as the encoder saw it, and the embedding.

    Raises
    ------
    TooShortError
        The series is shorter than one patch of the model, before or after resampling.
    SeriesError
        It is normalized already, or no network has a signal.
    ConfigError
        The encoder has no card.
    """
    card = encoder.own_card(needed_for="the input it expects")
    prepared, windows = to_windows(series, card.input_with(normalization))
    (found,) = embed_many_windows([windows], encoder, readout=readout, batch_size=batch_size)
    return EmbeddedSeries(series=prepared, embedding=found)


def embed_windows(
    windows: Windows,
    encoder: Encoder,
    *,
    readout: tuple[ReadoutPart, ...] | None = None,
    hidden: BoolArray | None = None,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "fp32",
) -> ScanEmbedding:
    """Embed the windows of one scan, on the device the encoder is on.

    Parameters
    ----------
    windows
        As from `model.preprocess.window`; padded patches and missing networks are masked.
    encoder
        In eval mode.
    readout
        Parts of the default scan vector, in order; None: the card's.
    hidden
        (N,) true in rows of the grid that are masked though there are data; None: in none.
    batch_size
        Windows at a time. The result does not depend on it.
    precision
        ``bf16``: products in bfloat16 by autocast, for a GPU; docs/encoder.md has the error.

    Raises
    ------
    SeriesError
        If the windows are not those the encoder takes, or no network has a signal.
    ConfigError
        If the encoder is in training mode, or says nothing of its readout.
    """
    (embedding,) = embed_many_windows(
        [windows],
        encoder,
        readout=readout,
        hidden=hidden,
        batch_size=batch_size,
        precision=precision,
    )
    return embedding


def embed_many_windows(
    scans: Sequence[Windows],
    encoder: Encoder,
    *,
    readout: tuple[ReadoutPart, ...] | None = None,
    hidden: BoolArray | None = None,
    batch_size: int = BATCH_SIZE,
    precision: Precision = "fp32",
) -> list[ScanEmbedding]:
    """Embed the windows of several scans in batches that scans share.

    Parameters
    ----------
    scans
        Windows of each scan; all of them are held in memory.
    encoder, readout, batch_size, precision
        As in `embed_windows`.
    hidden
        (N,) as there, of all scans.

    Returns
    -------
    One embedding per scan, equal to that of `embed_windows`.

    Raises
    ------
    SeriesError, ConfigError
        As in `embed_windows`, for any of the scans; then none is embedded.
    """
    if not scans:
        return []
    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r}: expected one of {get_args(Precision)}.")
    if readout is None:
        readout = encoder.own_card(needed_for="a readout").readout
    if "short" in readout and encoder.short is None:
        raise ConfigError(
            "the readout asks for a short form, and the encoder has none.",
            hint="One is fitted with fit.short in a pretraining recipe.",
        )
    for windows in scans:
        _check(windows, encoder)
    masks = [windows.token_mask(encoder.spec.groups) for windows in scans]
    if hidden is not None:
        masks = [mask | hidden[:, None] for mask in masks]
    device = encoder.cls_token.device
    half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), half:
        encoded = [
            encoder(torch.from_numpy(values).to(device), torch.from_numpy(mask).to(device))
            .float()
            .cpu()
            .numpy()
            for values, mask in _batches(scans, masks, size=batch_size)
        ]
    tokens = np.concatenate(encoded)
    ends = np.cumsum([len(mask) for mask in masks])
    embeddings = [
        ScanEmbedding(
            cls=found[:, 0],
            tokens=found[:, 1:].reshape(*mask.shape, -1),
            valid=~mask,
            start_s=windows.start_s,
            valid_fraction=windows.valid.mean(axis=1),
            readout=readout,
            rows=encoder.spec.rows,
        )
        for windows, mask, found in zip(scans, masks, np.split(tokens, ends[:-1]), strict=True)
    ]
    if "short" not in readout or encoder.short is None:
        return embeddings
    return [replace(e, short=_shorten(e.networks, encoder.short)) for e in embeddings]


def _shorten(means: FloatArray, short: ShortForm) -> FloatArray:
    """Map the means (W, N, D) of rows to the short form (W, S)."""
    with torch.inference_mode():
        found = short(torch.tensor(means, device=short.mean.device))
    return np.asarray(found.cpu().numpy())


def _batches(
    scans: Sequence[Windows], masks: Sequence[BoolArray], *, size: int
) -> Iterator[tuple[FloatArray, BoolArray]]:
    """Yield values (B, P, L) and masks (B, N, K) of ``size`` windows at a time, across scans."""
    pairs = (
        pair
        for windows, mask in zip(scans, masks, strict=True)
        for pair in zip(windows.values, mask, strict=True)
    )
    while batch := list(islice(pairs, size)):
        interrupts.check()
        values, masked = zip(*batch, strict=True)
        yield np.stack(values), np.stack(masked)


def _check(windows: Windows, encoder: Encoder) -> None:
    """Refuse windows of another length, sampling or patching than the encoder's."""
    if encoder.training:
        raise ConfigError("the encoder is in training mode.", hint="Call encoder.eval() first.")
    found = (windows.spec.n_patches, windows.spec.patch_samples)
    expected = (encoder.spec.n_patches, encoder.spec.patch_samples)
    if found != expected:
        raise SeriesError(
            f"expected windows of {expected[0]} patches of {expected[1]} samples, "
            f"found {found[0]} of {found[1]}.",
            hint="Cut windows with the InputSpec on the encoder's card.",
        )
    if encoder.card is not None and windows.spec.tr_s != encoder.card.input.tr_s:
        raise SeriesError(
            f"expected windows at TR {encoder.card.input.tr_s} s, found {windows.spec.tr_s} s."
        )
    silent = windows.token_mask(encoder.spec.groups).reshape(len(windows.values), -1).all(axis=1)
    if silent.any():
        raise SeriesError(
            f"{silent.sum()} of {silent.size} windows hold no data in any of "
            f"{summary(encoder.spec.groups)}.",
            hint="One of them needs half of its parcels, each window a patch without padding.",
        )
