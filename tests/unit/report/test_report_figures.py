"""Figures of the report show what their values are."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_app.report import figures, style
from model.figures import style as shared
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

N_PARCELS = 457
CEREBELLUM = network_columns("Cerebellum")
CARPET = {"tr_s": 2, "start_s": 0, "limit": 1, "unit": "BOLD units"}


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with style.figure_style():
        yield


def pictures(figure: Figure) -> list[bytes]:
    svg = style.inline_svg(figure, name="task-rest", alt="a carpet")
    return [base64.b64decode(text) for text in re.findall(r"base64,([^\"]+)", svg)]


def pixels(figure: Figure) -> np.ndarray:
    """Decode the first matrix of a figure to (rows, columns, 3)."""
    from PIL import Image

    shown = Image.open(io.BytesIO(pictures(figure)[0])).convert("RGBA")
    return np.asarray(shown)[..., :3]


def alphas(figure: Figure) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(pictures(figure)[0])).convert("RGBA"))[..., 3]


def test_a_carpet_shows_each_value_in_its_grey_and_missing_parcels_in_their_colour() -> None:
    values = np.tile(np.linspace(-1, 1, 32), (N_PARCELS, 1)).T
    values[:, 0] = np.nan  # the first parcel is the first line: visual, left
    shown = pixels(figures.carpet(values, end_s=64, **CARPET))
    assert shown.shape == (N_PARCELS, 32, 3)
    assert (alphas(figures.carpet(values, end_s=64, **CARPET))[0] == 0).all()  # the hatch behind
    levels = np.rint(shown[1:, :, 0] * (31 / 255))
    np.testing.assert_array_equal(levels, np.tile(np.arange(32), (456, 1)))
    assert (shown[1:] == shown[1:, :, :1]).all()


def test_a_carpet_is_ordered_by_network_and_time_runs_to_the_right() -> None:
    values = np.zeros((10, N_PARCELS))
    values[:, network_columns("Subcortical")] = 1
    values[5:] *= -1
    shown = pixels(figures.carpet(values, end_s=20, **CARPET))[..., 0]
    n_sub, n_cer = len(network_columns("Subcortical")), len(CEREBELLUM)
    block = shown[N_PARCELS - n_sub - n_cer : N_PARCELS - n_cer]
    assert (block[:, :5] == 255).all()
    assert (block[:, 5:] == 0).all()
    assert (shown[: N_PARCELS - n_sub - n_cer] == shown[0, 0]).all()


def test_a_carpet_of_noise_from_a_long_scan_stays_below_150_kb() -> None:
    values = np.random.default_rng(0).uniform(-2, 2, (1199, N_PARCELS))
    found = pictures(figures.carpet(values, end_s=2398, **CARPET))
    assert found
    assert max(map(len, found)) <= 150_000


def test_colours_of_a_matrix_are_kept_to_the_last_bit_in_a_png_with_a_table() -> None:
    values = np.random.default_rng(0).normal(size=(60, N_PARCELS))
    values[:, CEREBELLUM] = np.nan
    figure = figures.connectivity(values)
    image = figure.axes[0].images[0]
    expected = image.to_rgba(image.get_array(), bytes=True)[..., :3]
    there = image.to_rgba(image.get_array(), bytes=True)[..., 3] > 0
    np.testing.assert_array_equal(pixels(figure)[there], expected[there])


def test_missing_values_are_clear_and_hatched_behind_and_others_are_not() -> None:
    values = np.random.default_rng(0).normal(size=(60, N_PARCELS))
    whole = style.inline_svg(figures.connectivity(values), name="x", alt="x")
    values[:, CEREBELLUM] = np.nan
    gaps = style.inline_svg(figures.connectivity(values), name="x", alt="x")
    assert "<pattern" not in whole
    assert "<pattern" in gaps
    for name in ("gray", "RdBu_r", "Blues"):
        assert shared.palette(name)(np.nan)[3] == 0


def test_every_network_has_a_colour_of_its_own() -> None:
    assert tuple(shared.NETWORK_COLOURS) == NETWORKS
    assert len(set(shared.NETWORK_COLOURS.values())) == len(NETWORKS)


def test_coverage_marks_parcels_that_are_missing_and_counts_the_others() -> None:
    share, used = np.full(N_PARCELS, 0.9), np.ones(N_PARCELS, dtype=bool)
    share[CEREBELLUM[:3]], used[CEREBELLUM[:3]] = 0.1, False
    svg = style.inline_svg(figures.coverage(share, used, minimum=0.5), name="x", alt="x")
    assert f">{len(CEREBELLUM) - 3} of {len(CEREBELLUM)}</text>" in svg
    assert shared.MISSING_LINE in svg


def test_a_description_cannot_inject_markup_and_names_keep_identifiers_apart() -> None:
    values = np.zeros((10, N_PARCELS))
    svgs = [
        style.inline_svg(figures.carpet(values, end_s=20, **CARPET), name=name, alt='"><script>')
        for name in ("one", "two")
    ]
    assert "<script" not in svgs[0]
    first, second = (set(re.findall(r'id="([^"]+)"', svg)) for svg in svgs)
    assert first
    assert not first & second
