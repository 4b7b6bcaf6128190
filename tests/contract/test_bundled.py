"""The checkpoint that comes with the package, and the two lines of the README."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from model.checkpoint import load_encoder
from model.embed import embed_series
from model.spec import parcels_sha256

if TYPE_CHECKING:
    from model.encoder import Encoder

FOLDER = Path(str(files("model").joinpath("data/checkpoint")))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    """Five minutes of smooth noise at TR 0.8 s, with cerebellum and one parcel missing."""
    noise = np.random.default_rng(1).standard_normal((375, 457)).cumsum(axis=0)
    smooth = noise - np.linspace(noise[0], noise[-1], len(noise))
    smooth[:, 450:] = np.nan
    smooth[:, 7] = np.nan
    return smooth


def test_it_is_small_and_its_card_has_its_hash(encoder: Encoder) -> None:
    weights = (FOLDER / "weights.safetensors").read_bytes()
    assert len(weights) <= 30e6
    assert encoder.card is not None
    assert encoder.card.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert encoder.card.parcels_sha256 == parcels_sha256()


def test_its_card_says_how_it_was_trained(encoder: Encoder) -> None:
    assert encoder.card is not None
    training = encoder.card.training
    assert training["config"]["run"]["seed"] >= 0
    assert training["fit"]["cohorts"].keys() == {"stages", "ds000220"}  # licences allow it
    assert str(Path.home()) not in str(training)
    assert not any(word.startswith("/") for word in training["config"]["fit"]["shards"])
    assert encoder.card.licence


def test_a_series_with_missing_parcels_is_embedded_in_two_lines(encoder, series) -> None:
    embedding = embed_series(series, tr_s=0.8, encoder=encoder)
    vector = embedding.scan_vector()
    assert vector.dtype == np.float32
    assert embedding.missing_networks == ("Cerebellum",)
    assert vector.size <= 4200  # a twenty-fifth of connectivity
    lost = np.arange(vector.size) // encoder.spec.dim == encoder.spec.rows.index("Cerebellum")
    np.testing.assert_array_equal(np.isnan(vector), lost)


def test_gain_and_offset_of_parcels_do_not_matter(encoder, series) -> None:
    rng = np.random.default_rng(2)
    changed = series * rng.uniform(0.5, 2, 457) + rng.normal(0, 100, 457)
    one, other = (
        embed_series(s, tr_s=0.8, encoder=encoder).filled_vector() for s in (series, changed)
    )
    assert np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other) >= 0.999


def test_two_swapped_parcels_change_the_embedding(encoder, series) -> None:
    swapped = series.copy()
    swapped[:, [0, 300]] = series[:, [300, 0]]
    one, other = (
        embed_series(s, tr_s=0.8, encoder=encoder).filled_vector() for s in (series, swapped)
    )
    assert np.abs(one - other).max() > 1e-2


def test_reversed_time_changes_the_embedding(encoder, series) -> None:
    one, other = (
        embed_series(s, tr_s=0.8, encoder=encoder).filled_vector() for s in (series, series[::-1])
    )
    assert np.abs(one - other).max() > 1e-2
