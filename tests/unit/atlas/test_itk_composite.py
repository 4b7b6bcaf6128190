"""ITK composites: points go where ITK itself takes them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from itk_builders import composite

from bids_app.atlas.setup.warp import read_composite
from bids_app.errors import AtlasError

GOLDEN = Path(__file__).parents[2] / "golden/itk"
POINTS = np.array([[0.0, 10.0, -20.0], [5.0, -30.0, 2.0], [1.0, 40.0, 60.0]])


def through(content):
    return read_composite(content, source="x.h5")


@pytest.mark.parametrize("spelling", ["Transform", "Tranform"])
def test_points_go_where_itk_takes_them(spelling):
    """Affine, field on a rotated lattice, points inside and outside: tools/itk_golden.py."""
    content = (GOLDEN / "composite.h5").read_bytes()
    if spelling == "Tranform":
        file = h5py.File(io.BytesIO(content), "r+")
        for number in "12":
            for what in ("Parameters", "FixedParameters"):
                file.move(
                    f"TransformGroup/{number}/Transform{what}",
                    f"TransformGroup/{number}/Tranform{what}",
                )
        file.flush()
        content = file.id.get_file_image()
    expected = json.loads((GOLDEN / "points.json").read_text())
    points, moved = np.array(expected["points"]).T, np.array(expected["moved"]).T
    np.testing.assert_allclose(through(content)(points), moved, rtol=0, atol=1e-5)
    assert np.linalg.norm(moved - points, axis=0).min() > 1


def test_a_translation_to_the_left_and_back_lowers_x_and_y():
    moved = through(composite(translation=(1, 2, 3)))(POINTS)
    np.testing.assert_allclose(moved - POINTS, [[-1] * 3, [-2] * 3, [3] * 3])


def test_the_field_acts_before_the_affine():
    lattice = np.diag([10.0, 10.0, 10.0, 1.0])
    lattice[:3, 3] = -200
    field = np.zeros((3, 40, 40, 40))
    field[2] = 5
    content = composite(matrix=np.eye(3) * 2, translation=(0, 0, 1), field=field, lattice=lattice)
    np.testing.assert_allclose(through(content)(POINTS)[2], (POINTS[2] + 5) * 2 + 1)


def test_a_warp_is_interpolated_linearly_between_the_nodes_of_its_lattice():
    """On a linear displacement linear interpolation is exact: a wrong axis would show."""
    lattice = np.diag([-2.0, -3.0, 4.0, 1.0])  # as in files of a template: axes to right and front
    lattice[:3, 3] = (60, 90, -60)
    nodes = lattice[:3, :3] @ np.indices((60, 60, 40)).reshape(3, -1) + lattice[:3, 3:]
    slope = np.array([[0.01, 0.02, -0.03], [0.04, -0.05, 0.01], [0.02, 0.03, 0.05]])
    content = composite(field=(slope @ nodes).reshape(3, 60, 60, 40), lattice=lattice)
    flip = np.array([[-1], [-1], [1]])
    expected = POINTS + slope @ (POINTS * flip) * flip
    np.testing.assert_allclose(through(content)(POINTS), expected, rtol=0, atol=1e-5)


def test_points_outside_a_field_stay_where_they_are():
    moved = through(composite(field=np.full((3, 2, 2, 2), 7.0)))(POINTS)
    np.testing.assert_array_equal(moved, POINTS)


def damaged(change):
    content = io.BytesIO(composite(field=np.zeros((3, 2, 2, 2))))
    with h5py.File(content, "r+") as file:
        change(file["TransformGroup"])
    return content.getvalue()


def set_value(name, value):
    def change(group):
        del group[name]
        group[name] = value

    return change


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a composite transform"),
        (b"not HDF5 at all" * 100, "not a composite transform"),
        (composite()[:2000], "not a composite transform"),
        (damaged(lambda group: group.pop("1")), "not a composite transform"),
        (damaged(set_value("1/TransformParameters", np.zeros(5))), "not a composite"),
        (damaged(set_value("2/TransformParameters", np.zeros(5))), "not a composite"),
        (
            damaged(set_value("1/TransformType", [b"Euler3DTransform_double_3_3"])),
            "found CompositeTransform, Euler3DTransform, DisplacementFieldTransform",
        ),
        (damaged(set_value("0/TransformType", [b"AffineTransform_double_3_3"])), "expected a"),
    ],
)
def test_another_file_is_refused(content, message):
    with pytest.raises(AtlasError, match=rf"x\.h5: .*{message}"):
        through(content)
