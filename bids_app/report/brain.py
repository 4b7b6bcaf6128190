"""Figures of the brain: where the atlas lies on the image, and how much of each parcel is there.

Slices become one picture of few colours: outlines are drawn into its pixels, which is quick and
small. Surfaces are fsaverage5, drawn triangle by triangle, once a process.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_app.images.slices import PLANES, mesh
from bids_app.report.canvas import LINE, WIDTH, colour_bar, new_axes, new_figure
from model.figures.style import (
    BAD,
    INK,
    MISSING,
    MISSING_HATCH,
    MISSING_LINE,
    NETWORK_COLOURS,
    OUTLIER,
    PAPER,
    QUIET,
    palette,
)
from model.networks import NETWORKS, parcels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bids_app.images.slices import Slices

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]

ORDER = ("axial", "coronal", "sagittal")
GREYS, FEW_GREYS = 16, 3
"""Shades of the image, and of it behind something else"""
BRIGHTEST = 150
"""Grey that is the brightest of the image, of 255: white is the mask alone"""
NO_IMAGE = "#24384f"
"""Where the image ends and the template goes on"""
MASK = "#ffffff"
POINTS_PER_VOXEL = 0.9
PLANE_ROWS = {"axial": 109, "coronal": 91, "sagittal": 91}
"""Voxels from the lower to the upper edge of a slice"""
TITLE = 14.0
"""Height above a row of slices for its places"""
COVERAGE_LEVELS = 16
VIEWS = (("left", -1), ("left", 1), ("right", 1), ("right", -1))
"""Hemisphere, and from which side of x it is looked at"""
VIEW_PIXELS = (340, 250)


def outlines(slices: Slices, *, sides_known: bool = True) -> Figure:
    """Draw the networks' outlines and the brain mask on the mean image.

    What the atlas holds and the mask does not, or the image does not reach, is filled.

    Parameters
    ----------
    slices
        Of a scan.
    sides_known
        False: left and right are in doubt, and are written so.
    """
    figure, tops = _rows()
    for plane, top in tops.items():
        _draw_row(figure, plane, _outlined(slices, plane), top, sides_known=sides_known)
    _legend(figure, slices)
    return figure


def mirror(slices: Slices, margin: float) -> Figure:
    """Draw the axial slices below the atlas as it is, and below its mirror image.

    Parameters
    ----------
    slices
        Of a scan.
    margin
        Share of the atlas in the mask minus that of its mirror image; below zero.
    """
    height = PLANE_ROWS["axial"] * POINTS_PER_VOXEL
    figure = new_figure(2 * (TITLE + height) + 2)
    tried = (
        ("as the header says", f"{-margin:.1%} more of the\natlas outside", slices, BAD),
        ("left and right\nexchanged", "fits better", mirrored(slices), INK),
    )
    for number, (name, said, one, ink) in enumerate(tried):
        top = number * (TITLE + height) + TITLE
        _draw_row(figure, "axial", _outlined(one, "axial"), top, sides_known=False)
        axes = new_axes(figure, WIDTH - 140, top, 140, height)
        axes.set_axis_off()
        axes.text(0, 0.62, name, color=ink, weight="bold", va="center")
        axes.text(0, 0.3, said, color=ink, va="center")
    return figure


def mirrored(slices: Slices) -> Slices:
    """Return the same image below the mirror image of the atlas; places mirror one another."""
    turned = {
        plane: np.flip(labels, axis=0 if plane == "sagittal" else 2)
        for plane, labels in slices.labels.items()
    }
    return replace(slices, labels=turned)


def _outlined(slices: Slices, plane: str) -> Picture:
    """(rows, columns, 3) the mean image of a plane with outlines, and what lies outside filled."""
    grey, nets = _grey(slices, plane), _network_of()[_montage(slices.labels[plane])]
    outside = (grey == _rgb(NO_IMAGE)).all(axis=2) if slices.grey else np.zeros(nets.shape, bool)
    mask = None if slices.mask is None else _montage(slices.mask[plane])
    if mask is not None:
        outside |= ~mask
    grey[outside & (nets > 0)] = _rgb(OUTLIER)
    edge = _edges(nets)
    grey[edge] = _network_colours()[nets[edge]]
    if mask is not None:
        grey[_edges(mask)] = _rgb(MASK)
    return grey


def coverage_slices(slices: Slices, share: FloatArray, used: BoolArray) -> Figure:
    """Colour each parcel on the same slices by the share (P,) of its voxels that carry signal."""
    figure, tops = _rows()
    for plane, top in tops.items():
        picture, labels = _grey(slices, plane, FEW_GREYS), _montage(slices.labels[plane])
        _fill(picture, labels, _share_colours(share), used)
        _draw_row(figure, plane, picture, top)
    _share_bar(figure, left=WIDTH - 64, top=24, height=124)
    axes = new_axes(figure, WIDTH - 132, 160, 132, 32)
    axes.set(xlim=(0, 132), ylim=(32, 0))
    axes.set_axis_off()
    marks = [("missing", MISSING, MISSING_HATCH)]
    if slices.grey is not None:
        marks.append(("image, no atlas", f"#{BRIGHTEST:02x}{BRIGHTEST:02x}{BRIGHTEST:02x}", ""))
    for number, (name, colour, hatch) in enumerate(marks):
        axes.bar(
            8, 8, width=12, bottom=2 + 14 * number, color=colour, hatch=hatch,
            edgecolor=MISSING_LINE, linewidth=0,
        )  # fmt: skip
        axes.text(18, 6 + 14 * number, name, va="center")
    return figure


def surfaces(labels: npt.NDArray[np.uint16], share: FloatArray, used: BoolArray) -> Figure:
    """Colour each cortical parcel on fsaverage5 by the share of its vertices that carry signal.

    Parameters
    ----------
    labels
        (2, V) parcel of each vertex, left and right.
    share, used
        (P,) share of each parcel's grayordinates, and whether it has a series.
    """
    width, height = (WIDTH - 84) / len(VIEWS), 122.0
    figure = new_figure(height + 24)
    for number, (side, towards) in enumerate(VIEWS):
        faces, lit = _view(side, towards)
        _, triangles = mesh("infl", side)
        of_face = labels[0 if side == "left" else 1][triangles[:, 0]]
        seen = faces >= 0
        parcel = np.where(seen, of_face[np.maximum(faces, 0)], 0)
        picture = np.empty((*faces.shape, 3), dtype=np.uint8)
        picture[:] = _rgb(PAPER)
        picture[seen] = _rgb("#b8bec6")
        _fill(picture, parcel, _share_colours(share), used)
        picture[seen] = (picture[seen] * lit[seen][:, None]).astype(np.uint8)
        axes = new_axes(figure, number * width, TITLE, width - 6, height)
        axes.imshow(picture, interpolation="none", aspect="equal")
        axes.set_axis_off()
        inner = (side == "left") == (towards > 0)
        axes.set_title(f"{side}, {'inside' if inner else 'outside'}", pad=2)
    _share_bar(figure, left=WIDTH - 64, top=TITLE + 8, height=height - 20)
    return figure


def outside_share(slices: Slices) -> float | None:
    """Return the share of the atlas, on the slices, that the mask or the image does not hold."""
    if slices.grey is None:
        return None
    n_outside = n_all = 0
    for plane, labels in slices.labels.items():
        gone = slices.grey[plane] == 0
        if slices.mask is not None:
            gone = gone | ~slices.mask[plane]
        n_outside += int((gone & (labels > 0)).sum())
        n_all += int((labels > 0).sum())
    return n_outside / max(n_all, 1)


def _rows() -> tuple[Figure, dict[str, float]]:
    """Return a figure with room for all planes, and where the row of each begins."""
    tops, top = {}, 0.0
    for plane in ORDER:
        tops[plane] = top + TITLE
        top += TITLE + PLANE_ROWS[plane] * POINTS_PER_VOXEL
    return new_figure(top + 2), tops


def _draw_row(
    figure: Figure, plane: str, picture: Picture, top: float, *, sides_known: bool = True
) -> None:
    """Draw the slices of a plane side by side, their places above and the sides on them."""
    height, width = (length / 2 * POINTS_PER_VOXEL for length in picture.shape[:2])
    axes = new_axes(figure, 0, top, width, height)
    axes.imshow(picture, interpolation="none", aspect="auto", extent=(0, width, height, 0))
    axes.set_axis_off()
    axis, places = PLANES[plane]
    each = width / len(places)
    for number, place in enumerate(places):
        place_text = f"{'xyz'[axis]} {place:+.0f} mm" if place else f"{'xyz'[axis]} 0 mm"
        axes.text((number + 0.5) * each, -3, place_text, ha="center", color=QUIET)
    ends = ("back", "front") if not axis else ("L", "R") if sides_known else ("L?", "R?")
    ink = MASK if sides_known or not axis else OUTLIER
    for text, x, side in ((ends[0], 3, "left"), (ends[1], each - 3, "right")):
        axes.text(x, height - 4, text, color=ink, ha=side, weight="bold")


def _montage(stack: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Put slices (n, rows upwards, columns) side by side, top row first; a voxel is 2 x 2."""
    row = np.concatenate(list(stack[:, ::-1]), axis=1)
    return row.repeat(2, axis=0).repeat(2, axis=1)


def _grey(slices: Slices, plane: str, n_shades: int = GREYS) -> Picture:
    """(rows, columns, 3) the mean image in few shades; black where there is none of it."""
    if slices.grey is None:
        empty = _montage(np.zeros_like(slices.labels[plane], dtype=np.uint8))
        return np.zeros((*empty.shape, 3), dtype=np.uint8)
    stored = _montage(slices.grey[plane]).astype(float)
    steps = n_shades - 1
    shade = np.rint(np.rint((stored - 1) / 254 * steps) * BRIGHTEST / steps)
    picture = np.repeat(np.clip(shade, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    picture[stored == 0] = _rgb(NO_IMAGE)
    return picture


def _fill(
    picture: Picture, labels: npt.NDArray[np.integer[Any]], colours: Picture, used: BoolArray
) -> None:
    """Colour parcels in a picture (rows, columns, 3): missing ones hatched, edges darker."""
    inside = labels > 0
    picture[inside] = colours[labels[inside] - 1]
    gone = np.concatenate([[False], ~used])[labels]
    rows, columns = np.indices(labels.shape)
    lined: BoolArray = np.asarray((rows + columns) % 8 < 2)
    stripes = np.where(lined[..., None], _rgb(MISSING_LINE), _rgb(MISSING))
    picture[gone] = stripes[gone]
    edge = _edges(labels)
    picture[edge] = (picture[edge] * 0.7).astype(np.uint8)


def _edges(values: npt.NDArray[Any]) -> BoolArray:
    """(rows, columns) true where a pixel of something has another thing beside it."""
    edge = np.zeros(values.shape, dtype=bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        edge |= values != np.roll(values, step, axis=axis)
    return np.asarray(edge & (values != 0))


@cache
def _view(side: str, towards: int) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """(rows, columns) triangle of the surface that is seen, -1 where none is, and its light.

    Parameters
    ----------
    side
        Hemisphere.
    towards
        1: looked at from the right, -1: from the left.
    """
    from PIL import Image, ImageDraw

    points, triangles = mesh("infl", side)
    across, up = towards * points[:, 1], points[:, 2]
    scale = min(
        (pixels - 4) / np.ptp(values)
        for pixels, values in zip(VIEW_PIXELS, (across, up), strict=True)
    )
    x = (across - across.mean()) * scale + VIEW_PIXELS[0] / 2 - _middle(across) * scale
    y = VIEW_PIXELS[1] / 2 - (up - up.mean()) * scale + _middle(up) * scale
    corners = points[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = towards * normal[:, 0] / np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    front = np.flatnonzero(facing > 0)
    far_first = front[np.argsort(towards * corners[front, :, 0].mean(axis=1))]
    image = Image.new("I", VIEW_PIXELS, 0)
    draw = ImageDraw.Draw(image)
    outline = np.stack([x, y], axis=1)[triangles].reshape(len(triangles), 6)
    for face in far_first.tolist():
        draw.polygon(outline[face].tolist(), fill=face + 1)
    faces = np.asarray(image, dtype=np.intp) - 1
    light = np.rint((0.6 + 0.4 * np.clip(facing, 0, 1)) * 12) / 12
    return faces, np.where(faces >= 0, light[np.maximum(faces, 0)], 1.0)


def _middle(values: FloatArray) -> float:
    """How far the middle between the ends of (V,) lies from their mean."""
    return float((values.min() + values.max()) / 2 - values.mean())


def _legend(figure: Figure, slices: Slices) -> None:
    """Name the colours right of the axial and coronal slices, which leave room."""
    axes = new_axes(figure, WIDTH - 132, TITLE, 132, 192)
    axes.set(xlim=(0, 132), ylim=(192, 0))
    axes.set_axis_off()
    marks = [*NETWORK_COLOURS.items()]
    if slices.grey is not None:
        marks.append(("atlas outside the\nmask or the image", OUTLIER))
        marks.append(("no image here", NO_IMAGE))
    y = 6.0
    for name, colour in marks:
        more = LINE * name.count("\n")
        axes.plot([2, 14], [y, y], color=colour, linewidth=4, solid_capstyle="butt")
        axes.text(18, y + more / 2, name, va="center")
        y += 14 + more
    if slices.mask is not None:
        axes.plot([2, 14], [y, y], color="#000000", linewidth=4, solid_capstyle="butt")
        axes.plot([2, 14], [y, y], color=MASK, linewidth=1.2)
        axes.text(18, y, "brain mask", va="center")


def _share_bar(figure: Figure, *, left: float, top: float, height: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    shades = ScalarMappable(Normalize(0, 100), palette("cividis", COVERAGE_LEVELS))
    colour_bar(
        figure, shades, left=left, top=top, height=height, label="% of the parcel with signal"
    )


def _share_colours(share: FloatArray) -> Picture:
    """(P, 3) colours of shares between 0 and 1."""
    found = palette("cividis", COVERAGE_LEVELS)(np.nan_to_num(share), bytes=True)
    return np.asarray(found[:, :3])


@cache
def _network_of() -> npt.NDArray[np.intp]:
    """(P + 1,) which network a label belongs to, counted from 1; 0 for none."""
    return np.array([0, *(NETWORKS.index(parcel.network) + 1 for parcel in parcels())])


@cache
def _network_colours() -> Picture:
    """(N + 1, 3) colours of `_network_of`."""
    return np.array([_rgb("#000000"), *(_rgb(NETWORK_COLOURS[name]) for name in NETWORKS)])


def _rgb(colour: str) -> Picture:
    return np.frombuffer(bytes.fromhex(colour[1:]), dtype=np.uint8)
