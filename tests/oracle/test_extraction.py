"""Parcel means and coverage of random images, place by place from docs/atlas.md."""

from __future__ import annotations

from functools import reduce
from operator import add

import grayordinate_builders as gray
import nibabel as nib
import numpy as np
import plain
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bids_app.atlas.installed import InstalledAtlas
from bids_app.atlas.labels import resample_nearest
from bids_app.images import nifti
from bids_app.images.cifti import open_cifti
from bids_app.images.cifti_parcels import parcellate_grayordinates
from bids_app.images.nifti import open_nifti
from bids_app.images.nifti_parcels import parcellate
from model.networks import parcel_names

N_PARCELS = len(parcel_names())
UNSHRUNK = [Phase.explicit, Phase.reuse, Phase.generate]
"""No seed is smaller than another: looking for a smaller one takes minutes."""
SHAPE, N_FRAMES = (9, 11, 8), 6


def random_image(rng, *, floating, n_bad, n_constant, zero):
    """(X, Y, Z, T) stored values around 1000: some voxels constant, or not finite somewhere.

    In one frame some are zero, in another so many are not finite that it is no frame.
    """
    stored = rng.integers(800, 1200, (*SHAPE, N_FRAMES))
    stored = stored.astype(np.float32) + rng.normal(size=stored.shape) if floating else stored
    stored = stored.astype("<f4" if floating else "<i2")
    for place in rng.integers(0, SHAPE, (n_constant, 3)):
        stored[tuple(place)] = rng.choice([0, 1000])
    if floating:
        for place in rng.integers(0, SHAPE, (n_bad, 3)):
            stored[(*place, rng.integers(N_FRAMES))] = rng.choice([np.nan, np.inf, -np.inf])
        lost = rng.random(SHAPE) < rng.choice([0, 0.02, 0.2])
        stored[lost, rng.integers(N_FRAMES)] = rng.choice([np.nan, np.inf])
    stored[rng.random(SHAPE) < 0.3, rng.integers(N_FRAMES)] = zero
    return stored


def random_labels(rng):
    """(X, Y, Z) parcels of none to some ten voxels each; a third of the image has no label."""
    parcels = rng.integers(1, N_PARCELS + 1, 120)
    labels = rng.choice(parcels, SHAPE).astype(np.int32)
    labels[rng.random(SHAPE) < 1 / 3] = 0
    return labels


def n_bad_in(stored, labels, mask):
    """Voxels of parcels, in the mask, that are not finite in some frame that is not left out."""
    places = [p for p in np.ndindex(labels.shape) if labels[p] and (mask is None or mask[p])]
    measured = plain.frames_measured(stored, places)
    return sum(not np.isfinite(stored[place][measured]).all() for place in places)


@pytest.mark.parametrize("block_bytes", [500, 4_000_000])
@given(
    seed=st.integers(0, 2**32 - 1),
    floating=st.booleans(),
    with_mask=st.booleans(),
    min_coverage=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
@settings(
    max_examples=12,
    deadline=None,
    phases=UNSHRUNK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_parcel_means_and_coverage(
    tmp_path, monkeypatch, block_bytes, seed, floating, with_mask, min_coverage
) -> None:
    monkeypatch.setattr(nifti, "BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(seed)
    slope, inter = (1.0, 0.0) if floating else (0.25, -31.0)  # exact in the header's float32
    stored = random_image(
        rng, floating=floating, n_bad=20, n_constant=80, zero=0 if floating else 124
    )
    labels = random_labels(rng)
    mask = rng.random(SHAPE) < 0.8 if with_mask else None
    absent = {int(parcel): "declared" for parcel in rng.integers(1, N_PARCELS + 1, 5)}
    labels[np.isin(labels, list(absent))] = 0
    image = nib.Nifti1Image(stored, np.diag([2.0, 2, 2, 1]))
    image.header.set_slope_inter(slope, inter)
    image.header.set_xyzt_units("mm", "sec")
    path = tmp_path / "bold.nii"
    nib.save(image, path)
    # Nibabel divides what it is given by the slope; the file is to hold `stored`.
    raw = bytearray(path.read_bytes())
    raw[352:] = stored.tobytes(order="F")
    path.write_bytes(raw)

    expected = plain.parcel_means(
        stored,
        labels,
        mask,
        scaled=lambda number: number * slope + inter,
        absent=absent,
        min_coverage=min_coverage,
        n_parcels=N_PARCELS,
    )
    found = parcellate(open_nifti(path), labels, mask, absent=absent, min_coverage=min_coverage)

    assert_parcels(found, *expected)
    assert found.n_nonfinite_voxels == n_bad_in(stored, labels, mask)
    assert found.mask_source == ("file" if with_mask else "derived")


@pytest.fixture(scope="module")
def grayordinates(tmp_path_factory):
    return InstalledAtlas(gray.make_atlas(tmp_path_factory.mktemp("gray"))).grayordinates("91k")


def places_of(axis):
    """(structure, vertex) or (structure, voxel) of each row."""
    voxels, vertices = axis.voxel.tolist(), axis.vertex.tolist()
    return [
        (name, vertex if vertex >= 0 else tuple(voxel))
        for name, vertex, voxel in zip(axis.name, vertices, voxels, strict=True)
    ]


@given(
    seed=st.integers(0, 2**32 - 1),
    listed=st.sampled_from([0.5, 0.8, 1.0]),
    lost=st.sampled_from([0.0, 0.03, 0.2]),
    min_coverage=st.sampled_from([0.0, 0.5, 1.0]),
)
@settings(
    max_examples=10,
    deadline=None,
    phases=UNSHRUNK,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_grayordinate_means_and_coverage(
    tmp_path, grayordinates, seed, listed, lost, min_coverage
) -> None:
    """Files that list some of the places only, in any order."""
    rng = np.random.default_rng(seed)
    whole = gray.make_axis()
    atlas = dict(zip(places_of(whole), gray.labels_on(whole).tolist(), strict=True))
    parts = []
    for _, _, part in whole.iter_structures():
        rows = np.flatnonzero(rng.random(len(part)) < listed)
        if rows.size:
            parts.append(part[rng.permutation(rows)])
    axis = reduce(add, [parts[number] for number in rng.permutation(len(parts))])
    values = rng.normal(1000, 50, (N_FRAMES, len(axis))).astype(np.float32)
    values[:, rng.random(len(axis)) < 0.2] = 7
    values[rng.integers(N_FRAMES), rng.random(len(axis)) < 0.3] = 0
    values[rng.integers(N_FRAMES), rng.random(len(axis)) < lost] = np.nan
    path = gray.write_series(tmp_path / "x_bold.dtseries.nii", values, axis)

    stored = dict(zip(places_of(axis), values.T.tolist(), strict=True))
    expected = plain.grayordinate_means(
        stored, atlas, min_coverage=min_coverage, n_parcels=N_PARCELS
    )
    found = parcellate_grayordinates(open_cifti(path), grayordinates, min_coverage=min_coverage)
    assert_parcels(found, *expected)


def assert_parcels(found, parcels, blank):
    series, in_atlas, used, reasons = zip(*parcels, strict=True)
    assert found.coverage.reason == reasons
    np.testing.assert_array_equal(found.coverage.n_voxels_atlas, in_atlas)
    n_used = [len(places) for places in used]
    np.testing.assert_array_equal(found.coverage.n_voxels_used, n_used)
    assert found.coverage.n_voxels_atlas.dtype == found.coverage.n_voxels_used.dtype == np.int64
    np.testing.assert_allclose(
        found.coverage.fraction,
        [u / n if n else 0 for u, n in zip(n_used, in_atlas, strict=True)],
        rtol=1e-15,
    )
    np.testing.assert_allclose(found.blank, blank, rtol=1e-12, atol=1e-15)
    series = np.transpose(series)
    measured = ~np.isnan(series).all(axis=1)  # what stands in the other frames means nothing
    np.testing.assert_allclose(found.values[measured], series[measured], rtol=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    size_mm=st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    halves=st.booleans(),
)
@settings(max_examples=20, deadline=None, phases=UNSHRUNK)
def test_labels_on_the_grid_of_the_data(seed, size_mm, halves) -> None:
    """Other voxel sizes, flipped and exchanged axes; centres midway between two voxels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_PARCELS + 1, (7, 8, 6)).astype(np.int32)
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -6
    axes = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    to_affine = np.eye(4)
    to_affine[:3, :3] = size_mm * axes
    corner = rng.integers(-2, 3, 3) if halves else rng.normal(0, 2, 3)
    to_affine[:3, 3] = corner - to_affine[:3, :3] @ [3, 3, 3] + 1
    found = resample_nearest(labels, affine, (6, 7, 8), to_affine)
    np.testing.assert_array_equal(
        found, plain.labels_on_grid(labels, affine, (6, 7, 8), to_affine)
    )
