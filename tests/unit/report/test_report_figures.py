"""Figures of the report show what their values are."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from bids_app.images.slices import Slices, slices_of
from bids_app.report import brain, effect, figures
from bids_app.signal.effect import Effect
from model.figures import style
from model.figures.render import svg_bytes
from model.networks import NETWORKS, network_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

N_PARCELS = 457
CEREBELLUM = network_columns("Cerebellum")
CARPET = {"tr_s": 2, "start_s": 0, "limit": 1, "unit": "standard deviations"}
SHADES = figures.CARPET_LEVELS


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with style.figure_style():
        yield


def pictures(figure: Figure) -> list[bytes]:
    svg = svg_bytes(figure, alt="a carpet").decode()
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
    values = np.tile(np.linspace(-1, 1, SHADES), (N_PARCELS, 1)).T
    values[:, 0] = np.nan  # the first parcel is the first line: visual, left
    shown = pixels(figures.carpet(values, end_s=2 * SHADES, **CARPET))
    assert shown.shape == (N_PARCELS, SHADES, 3)
    assert (
        alphas(figures.carpet(values, end_s=2 * SHADES, **CARPET))[0] == 0
    ).all()  # the hatch behind
    levels = np.rint(shown[1:, :, 0] * ((SHADES - 1) / 255))
    np.testing.assert_array_equal(levels, np.tile(np.arange(SHADES), (456, 1)))
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
    whole = svg_bytes(figures.connectivity(values), alt="x").decode()
    values[:, CEREBELLUM] = np.nan
    gaps = svg_bytes(figures.connectivity(values), alt="x").decode()
    assert "<pattern" not in whole
    assert "<pattern" in gaps
    for name in ("gray", "RdBu_r", "Blues"):
        assert style.palette(name)(np.nan)[3] == 0


def test_every_network_has_a_colour_of_its_own() -> None:
    assert tuple(style.NETWORK_COLOURS) == NETWORKS
    assert len(set(style.NETWORK_COLOURS.values())) == len(NETWORKS)


def test_coverage_marks_parcels_that_are_missing_and_counts_the_others() -> None:
    share, used = np.full(N_PARCELS, 0.9), np.ones(N_PARCELS, dtype=bool)
    share[CEREBELLUM[:3]], used[CEREBELLUM[:3]] = 0.1, False
    svg = svg_bytes(figures.coverage(share, used, minimum=0.5), alt="x").decode()
    assert f">{len(CEREBELLUM) - 3} of {len(CEREBELLUM)}</text>" in svg
    assert style.MISSING_LINE in svg


def all_figures() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    values, share = rng.normal(size=(60, N_PARCELS)), np.full(N_PARCELS, 0.9)
    used, labels = share > 0, np.ones((2, 10242), dtype=np.uint16)
    rows = [f"Brain_of_64_components_{row}" for row in range(30)]
    tokens, onsets = rng.normal(size=(12, 30, 5, 8)), [1003.0 * window for window in range(12)]
    measured = Effect(
        raw=values, despiked=values, global_signal=values[:, 0],
        frequency_hz=np.linspace(0, 0.25, 30), power=rng.uniform(size=(2, 30)),
        fd_correlation=rng.uniform(-0.5, 0.5, (2, N_PARCELS)),
        variance=np.tile([[0.5], [0.3], [0.2]], (1, N_PARCELS)),
    )  # fmt: skip
    return {
        "carpet": figures.carpet(values, end_s=120, **CARPET),
        "connectivity": figures.connectivity(values),
        "coverage": figures.coverage(share, used, minimum=0.5),
        "embedding": figures.embedding(tokens, rows, onsets, length_s=2000),
        "brain": brain.outlines(head()),
        "mirror": brain.mirror(head(flip=True), -0.1),
        "slices": brain.coverage_slices(head(), share, used),
        "surfaces": brain.surfaces(labels, share, used),
        "denoising": effect.summary(measured, band_hz=(0.01, 0.1)),
    }


def written(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Text, Bbox]]:
    """Return the texts that are drawn, with their places: ticks beyond the ends are not."""
    texts: list[Text] = []
    draw = Text.draw
    with monkeypatch.context() as patch:
        patch.setattr(
            Text, "draw", lambda self, renderer: (texts.append(self), draw(self, renderer))
        )
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    renderer = canvas.get_renderer()
    return [
        (text, text.get_window_extent(renderer))
        for text in texts
        if text.get_visible() and text.get_text()
    ]


def test_text_is_legible_on_a_page_of_800_pixels_and_stands_apart(monkeypatch) -> None:
    for name, figure in all_figures().items():
        texts = written(figure, monkeypatch)
        assert len(texts) > 5, name
        for text, box in texts:
            said = f"{name}: {text.get_text()}"
            assert text.get_fontsize() * 780 / 720 > 10, said
            assert min(box.x0, box.y0) > -1, said
            assert (box.max < figure.bbox.max + 1).all(), said
            inner = box.padded(-0.5)
            near = [o.get_text() for o, there in texts if o is not text and inner.overlaps(there)]
            assert not near, f"{said} over {near}"


def test_windows_are_alike_in_the_same_colours_in_every_report_and_overlaps_are_framed() -> None:
    tokens = np.random.default_rng(0).normal(size=(3, 9, 5, 8))
    apart, near = (
        figures.embedding(tokens, NETWORKS, [0, 100, 200], length_s=length_s)
        for length_s in (100, 150)
    )
    for figure in (apart, near):
        shown = [axes.images[0] for axes in figure.axes[:3:2]]
        assert [image.get_clim() for image in shown] == [(0, 1), (0, 1)]
    n_lines = [sum(len(c.get_segments()) for c in f.axes[0].collections) for f in (apart, near)]
    # Around each of three cells alone; around all but two corners.
    assert n_lines == [8, 4]


def test_the_image_below_the_outlines_is_never_as_white_as_the_mask() -> None:
    shown = pixels(brain.outlines(head()))
    grey = (shown == shown[..., :1]).all(axis=2)
    assert set(np.unique(shown[grey])) <= {0, brain.BRIGHTEST, 255}
    assert (shown == 255).all(axis=2).mean() < 0.1


def test_a_description_cannot_inject_markup() -> None:
    figure = figures.carpet(np.zeros((10, N_PARCELS)), end_s=20, **CARPET)
    svg = svg_bytes(figure, alt='"><script>').decode()
    assert "<script" not in svg
    assert "&lt;script&gt;</title>" in svg


def test_colours_of_networks_are_told_apart_by_the_colour_blind() -> None:
    """By their distance in CIELAB after Machado's matrices, severity 1: at least 7."""
    seen = np.array([list(bytes.fromhex(c[1:])) for c in style.NETWORK_COLOURS.values()]) / 255
    linear = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
    for matrix in (
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]],
    ):  # fmt: skip
        lab = _lab(np.clip(linear @ np.array(matrix).T, 0, 1))
        distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
        assert distance[np.triu_indices(len(lab), 1)].min() > 7


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = (
        linear
        @ np.array(
            [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        ).T
        / np.array([0.9505, 1.0, 1.089])
    )
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


def head(*, shift_mm: float = 0.0, cut_mm: float = -200.0, flip: bool = False) -> Slices:
    """A lopsided head with two parcels; moved to the front, cut below, or mirrored."""
    affine = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    x, y, z = (affine[:3, :3] @ np.indices((91, 109, 91)).reshape(3, -1)) + affine[:3, 3:]

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        wide = np.where(x < 0, 60, 50)
        return ((x / wide) ** 2 + (y / 80) ** 2 + (z / 55) ** 2 < 1).reshape(91, 109, 91)

    atlas = inside(x, y)
    mask = inside(-x if flip else x, y - shift_mm) & (z > cut_mm).reshape(atlas.shape)
    return slices_of(
        mask * 100.0, mask, affine, labels=atlas.astype(np.int32), labels_affine=affine
    )


def orange(slices: Slices) -> int:
    """Pixels of the first picture of the brain that say: atlas, but no brain."""
    shown = pixels(brain.outlines(slices)).astype(int)
    return int((shown == list(bytes.fromhex(style.OUTLIER[1:]))).all(axis=2).sum())


def test_a_shift_a_flip_and_a_cut_field_of_view_show_on_the_brain() -> None:
    assert orange(head()) == 0
    for spoilt in (head(shift_mm=10), head(flip=True), head(cut_mm=-30)):
        assert orange(spoilt) > 300
        assert brain.outside_share(spoilt) > 0.02


def test_a_flip_shows_as_more_of_the_atlas_outside_than_of_its_mirror_image() -> None:
    right, flipped = head(), head(flip=True)
    assert brain.outside_share(right) == brain.outside_share(brain.mirrored(flipped)) == 0
    assert brain.outside_share(flipped) == brain.outside_share(brain.mirrored(right)) > 0.02
    for name, labels in brain.mirrored(brain.mirrored(right)).labels.items():
        np.testing.assert_array_equal(labels, right.labels[name])
    drawn = svg_bytes(brain.mirror(flipped, -0.092), alt="x").decode()
    assert ">as the header says</text>" in drawn
    assert ">9.2% more of the</text>" in drawn
    assert ">L?</text>" in svg_bytes(brain.outlines(flipped, sides_known=False), alt="x").decode()
    assert ">L?</text>" not in svg_bytes(brain.outlines(right), alt="x").decode()


def test_where_the_image_ends_the_atlas_goes_on() -> None:
    whole = head()
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = (-90, -126, 0)  # begins at z 0 mm
    part = slices_of(
        np.ones((91, 109, 50)), None, affine,
        labels=np.ones((91, 109, 91), dtype=np.int32), labels_affine=np.diag([2.0, 2, 2, 1]),
    )  # fmt: skip
    assert part.grey is not None
    assert (part.grey["axial"][0] == 0).all()
    assert (part.grey["axial"][-1] > 0).all()
    assert brain.outside_share(whole) == 0


def test_missing_parcels_are_striped_on_slices_and_surfaces() -> None:
    share, used = np.ones(N_PARCELS), np.ones(N_PARCELS, dtype=bool)
    used[0] = False
    labels = np.ones((2, 10242), dtype=np.uint16)
    stripe = list(bytes.fromhex(style.MISSING_LINE[1:]))
    for figure in (
        brain.coverage_slices(head(), share, used), brain.surfaces(labels, share, used),
    ):  # fmt: skip
        shown = pixels(figure).astype(int)
        assert (np.abs(shown - stripe).max(axis=2) < 2).any()


def test_shares_of_variance_are_averaged_over_parcels_with_a_series() -> None:
    variance = np.tile([[0.5], [0.3], [0.2]], (1, N_PARCELS))
    variance[:, 3] = np.nan
    assert effect.shares_of(variance) == pytest.approx((0.5, 0.3, 0.2))
