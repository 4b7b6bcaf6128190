"""A carpet of the report shows what its values are."""

from __future__ import annotations

import base64
import io
import re

import numpy as np

from bids_app.report.figures import carpet_figure
from bids_app.report.svg import MISSING
from model.networks import network_columns

N_PARCELS = 457
CEREBELLUM = network_columns("Cerebellum")


def picture(svg: str) -> np.ndarray:
    """Decode the first matrix of a figure to (rows, columns, 3) by a library of its own."""
    from PIL import Image

    content = base64.b64decode(re.search(r"base64,([^\"]+)", svg)[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_a_carpet_shows_each_value_in_its_grey_and_missing_parcels_in_their_colour() -> None:
    values = np.tile(np.linspace(-1, 1, 32), (N_PARCELS, 1)).T
    values[:, 0] = np.nan  # the first parcel is the first line: visual, left
    svg = carpet_figure(values, tr_s=2, start_s=0, end_s=64, limit=1, unit="BOLD units")
    pixels = picture(svg)
    assert pixels.shape == (N_PARCELS, 32, 3)
    assert {tuple(pixel) for pixel in pixels[0]} == {tuple(bytes.fromhex(MISSING[1:]))}
    levels = np.rint(pixels[1:, :, 0] * (31 / 255))
    np.testing.assert_array_equal(levels, np.tile(np.arange(32), (456, 1)))
    assert (pixels[1:] == pixels[1:, :, :1]).all()


def test_a_carpet_is_ordered_by_network_and_time_runs_to_the_right() -> None:
    values = np.zeros((10, N_PARCELS))
    values[:, network_columns("Subcortical")] = 1
    values[5:] *= -1
    pixels = picture(carpet_figure(values, tr_s=2, start_s=0, end_s=20, limit=1, unit="x"))[..., 0]
    n_sub, n_cer = len(network_columns("Subcortical")), len(CEREBELLUM)
    block = pixels[N_PARCELS - n_sub - n_cer : N_PARCELS - n_cer]
    assert (block[:, :5] == 255).all()
    assert (block[:, 5:] == 0).all()
    assert (pixels[: N_PARCELS - n_sub - n_cer] == pixels[0, 0]).all()


def test_a_carpet_of_noise_from_a_long_run_stays_below_150_kb() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (1199, N_PARCELS))
    svg = carpet_figure(values, tr_s=0.72, start_s=0, end_s=864, limit=0.5, unit="BOLD units")
    pictures = re.findall(r"base64,([^\"]+)", svg)
    assert pictures
    assert max(len(base64.b64decode(picture)) for picture in pictures) <= 150_000
