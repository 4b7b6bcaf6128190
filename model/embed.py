"""From a series or its windows to a scan embedding: batches, device, eval mode, fp32 out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from model.errors import ConfigError, SeriesError
from model.networks import NETWORKS
from model.preprocess import prepare, window
from model.series import ParcelSeries, ScanEmbedding, Windows

if TYPE_CHECKING:
    import numpy.typing as npt

    from model.encoder import Encoder
    from model.series import FloatArray
    from model.spec import CheckpointCard, Normalization, ReadoutPart


def embed_series(
    values: npt.ArrayLike,
    *,
    tr_s: float,
    encoder: Encoder,
    readout: tuple[ReadoutPart, ...] | None = None,
    normalization: Normalization | None = None,
    batch_size: int = 8,
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
    readout
        Parts of the default scan vector, in order; None: the card's.
    normalization
        ``robust`` (with despiking) or ``zscore`` per parcel over the scan; None: the card's.
    batch_size
        Windows at a time; the result does not depend on it.

    Raises
    ------
    SeriesError
        If the series has the wrong shape, is too short, or no network has a signal.
    ConfigError
        If the encoder has no card.
    """
    spec = _card(encoder, needed_for="the input it expects").input
    if normalization is not None:
        spec = replace(spec, normalization=normalization)
    series = prepare(ParcelSeries(values=np.asarray(values), tr_s=tr_s, unit="residual"), spec)
    return embed_windows(window(series, spec), encoder, readout=readout, batch_size=batch_size)


def embed_windows(
    windows: Windows,
    encoder: Encoder,
    *,
    readout: tuple[ReadoutPart, ...] | None = None,
    batch_size: int = 8,
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
    batch_size
        Windows at a time; beyond 8 a CPU gains nothing. The result does not depend on it.

    Raises
    ------
    SeriesError
        If the windows are not those the encoder takes, or no network has a signal.
    ConfigError
        If the encoder is in training mode, or says nothing of its readout.
    """
    if readout is None:
        readout = _card(encoder, needed_for="a readout").readout
    _check(windows, encoder)
    mask = windows.token_mask
    tokens = _run(windows.values, mask, encoder, batch_size=batch_size)
    return ScanEmbedding(
        cls=tokens[:, 0],
        tokens=tokens[:, 1:].reshape(*mask.shape, -1),
        valid=~mask,
        start_s=windows.start_s,
        valid_fraction=windows.valid.mean(axis=1),
        readout=readout,
    )


def _run(
    values: FloatArray, mask: npt.NDArray[np.bool_], encoder: Encoder, *, batch_size: int
) -> FloatArray:
    """Encode windows (W, P, L) to tokens (W, 1 + N * K, D) in batches."""
    device = encoder.cls_token.device
    batches = []
    with torch.inference_mode():
        for start in range(0, len(values), batch_size):
            batch = slice(start, start + batch_size)
            # np.array copies: torch must not be given read-only memory.
            x = torch.from_numpy(np.array(values[batch])).to(device)
            masked = torch.from_numpy(np.array(mask[batch])).to(device)
            batches.append(encoder(x, masked).float().cpu().numpy())
    return np.concatenate(batches)


def _card(encoder: Encoder, *, needed_for: str) -> CheckpointCard:
    if encoder.card is None:
        raise ConfigError(
            f"the encoder has no card and does not tell {needed_for}.",
            hint="Load it with model.checkpoint.load_encoder, or cut windows with "
            "model.preprocess.window and give embed_windows a readout, such as ('mean', 'cls').",
        )
    return encoder.card


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
    silent = windows.token_mask.reshape(len(windows.values), -1).all(axis=1)
    if silent.any():
        raise SeriesError(
            f"{silent.sum()} of {silent.size} windows hold no data in any of the "
            f"{len(NETWORKS)} networks.",
            hint="Each network needs half of its parcels, each window a patch without padding.",
        )
