"""Encoders without training: first weights, whitening, and the controls made of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch

from model.encoder import build_encoder
from model.errors import ConfigError
from model.files.settings import from_dict
from model.fitting.data import FitData, open_data, reopen
from model.fitting.data import FitDataError as FitDataError
from model.fitting.mixtures import mix_parcels
from model.fitting.settings import FitConfig
from model.fitting.short import add_short_form
from model.fitting.whitening import whiten
from model.pretraining.settings import CENTRED, UNTRAINED
from model.simulation.simulate import SimulationConfig
from model.tokenizer import around

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.pretraining.settings import PretrainConfig
    from model.spec import EncoderSpec
    from model.tokenizer import NetworkTokenizer, StructuredConv


DENSE_GAIN = 10.0
"""A difference of neighbouring samples is small, for BOLD is smooth; GELU shows the variance of
what is not."""


SHRINKAGE = 0.3
"""Of the whitening of random weights, where the card does not tell that of the checkpoint."""


def begin(encoder: Encoder, init: str, data: FitData | None = None) -> None:
    """Make of random weights, in place, those that ``run.init`` and ``fit.mixtures`` name.

    Nothing is done for ``random``, nor for a checkpoint, which replaces them.

    Parameters
    ----------
    encoder
        Random weights.
    init
        ``run.init``
    data
        Scans whose mean correlation tells what some rows mix; None: all mix parcels.
    """
    if init == CENTRED:
        pass_no_constant(encoder)
    if data is not None and data.config.mixtures:
        mix_parcels(encoder, data)


def fit_data(config: PretrainConfig) -> FitData:
    """Open the scans that a run is to be fitted to; without a section [fit], simulated ones."""
    return open_data(
        config.fit or FitConfig(),
        config.input,
        simulation=config.simulation,
        seed=config.run.seed,
    )


@torch.no_grad()
def pass_no_constant(encoder: Encoder) -> None:
    """Turn an encoder's random filters, in place, into filters that a constant hardly passes."""
    for tokenizer in cast("Iterable[NetworkTokenizer]", encoder.tokenizers):
        if "dense" in tokenizer.branches:
            weight = tokenizer.dense.weight
            weight.copy_(DENSE_GAIN * (weight - weight.mean(dim=-1, keepdim=True)))
        if "structured" in tokenizer.branches:
            _subtract_average(tokenizer.structured, encoder.spec.patch_samples)


def _subtract_average(conv: StructuredConv, n_samples: int) -> None:
    """Make every head the sample minus the average of those of its patch within reach."""
    for i, kernel in enumerate(conv.kernels):
        kernel.fill_(-1 / 2 ** (len(conv.kernels) - 1 - i))  # undoes the weights of the scales
    conv.fix_norm()
    taps = conv.taps()
    before, after = around(taps.shape[-1])
    places = range(n_samples)
    n_within = [min(t, before) + 1 + min(n_samples - 1 - t, after) for t in places]
    conv.skip.copy_(-taps.mean(dim=-1) * sum(n_within) / n_samples)


def untrained(encoder: Encoder, *, seed: int) -> Encoder:
    """Draw the weights anew, with nothing fitted to them: neither whitening nor a short form."""
    drawn = build_encoder(replace(encoder.spec, short=0), seed=seed).eval()
    return drawn.to(encoder.cls_token.device)


def untrained_whitened(encoder: Encoder, *, seed: int, folders: Sequence[Path] = ()) -> Encoder:
    """Draw the weights of a whitened encoder anew and whiten them on the scans that it was.

    So training is told apart from whitening, which needs none. It takes a quarter of a minute
    with the bundled architecture.

    Parameters
    ----------
    folders
        Of shards, among which are those that the encoder's card tells, if any.

    Raises
    ------
    FitDataError
        The encoder was fitted to scans that are in none of them.
    """
    drawn = build_encoder(_plain(encoder), seed=seed).eval()
    return _fitted_alike(drawn, encoder, fit_of(encoder, folders))


def before_training(encoder: Encoder, *, folders: Sequence[Path] = ()) -> Encoder | None:
    """Draw the weights that training began with, whitened if the encoder is.

    None where the card does not tell them, or tells that they were another checkpoint's.

    Raises
    ------
    FitDataError
        As in `untrained_whitened`.
    """
    run = _run_settings(encoder)
    if run.get("init") not in UNTRAINED:
        return None
    drawn = build_encoder(_plain(encoder), seed=int(run["seed"])).eval()
    data = fit_of(encoder, folders)
    begin(drawn, run["init"], data)
    return _fitted_alike(drawn, encoder, data)


def _plain(encoder: Encoder) -> EncoderSpec:
    """Return the architecture without what is fitted."""
    return replace(encoder.spec, whitened=False, short=0)


def _fitted_alike(drawn: Encoder, encoder: Encoder, data: FitData) -> Encoder:
    """Fit to the drawn weights what the encoder has fitted to its own."""
    if encoder.spec.whitened:
        drawn, _ = whiten(drawn, data, shrinkage=shrinkage_of(encoder))
    if encoder.spec.short:
        drawn, _ = add_short_form(drawn, data)
    return drawn.to(encoder.cls_token.device)


def fit_of(encoder: Encoder, folders: Sequence[Path]) -> FitData:
    """Open the scans that an encoder's card says it was fitted to, and no others.

    Raises
    ------
    FitDataError
        They are in none of the folders, or the card does not tell what they are.
    """
    try:
        return _open_told(encoder, folders)
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as err:
        raise FitDataError(f"the card does not tell what the weights were fitted to: {err}") from (
            err
        )


def _open_told(encoder: Encoder, folders: Sequence[Path]) -> FitData:
    card = encoder.own_card()
    told = _fit_told(encoder)
    settings = from_dict(FitConfig, told.get("settings", {}), where="training.fit of the card")
    simulation = from_dict(
        SimulationConfig, told.get("simulation", {}), where="training.fit of the card"
    )
    return FitData(
        config=settings,
        cohorts=reopen(told.get("cohorts", {}), folders, settings.subjects, card.input),
        spec=card.input,
        simulation=simulation,
        seed=int(told.get("seed", _run_settings(encoder).get("seed", 0))),
    )


def with_mixtures_of(data: FitData, encoder: Encoder) -> FitData:
    """Return the scans to fit to, with the mixtures that an encoder's card tells of its rows."""
    told = _fit_told(encoder).get("settings", {})
    mixtures = from_dict(FitConfig, told, where="training.fit of the card").mixtures
    return replace(data, config=replace(data.config, mixtures=mixtures))


def shrinkage_of(encoder: Encoder) -> float:
    """Return the shrinkage that the encoder's card tells; `SHRINKAGE` where it does not."""
    told = _fit_told(encoder).get("shrinkage") or _run_settings(encoder).get("whitening")
    return float(told or SHRINKAGE)


def _fit_told(encoder: Encoder) -> dict[str, Any]:
    """Return what the card tells of the scans fitted to; nothing: simulated ones, if any."""
    fit: dict[str, Any] = encoder.own_card().training.get("fit") or {}
    return fit


def _run_settings(encoder: Encoder) -> dict[str, Any]:
    """Return what the card tells of the pretraining run; nothing if there was none."""
    run: dict[str, Any] = encoder.own_card().training.get("config", {}).get("run", {})
    return run
