"""An image that does not lie where its name and header say: what that does, what notices it.

The numbers asserted on real atlases and series are those of docs/quality.md.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from scipy.ndimage import distance_transform_edt, gaussian_filter

from bids_app.atlas.grayordinates import tables_of
from bids_app.atlas.labels import parse_labels, resample_nearest
from bids_app.atlas.setup import fetch as atlas_fetch
from bids_app.atlas.setup import origins
from bids_app.atlas.setup.build_grayordinates import build_grayordinate_atlas
from bids_app.atlas.setup.build_volumes import build_volume_atlas
from bids_app.atlas.spaces import SPACES
from bids_app.atlas.volumes import VolumeAtlas
from bids_app.errors import ScanError
from bids_app.images.cifti import open_cifti
from bids_app.images.cifti_parcels import match
from bids_app.images.nifti_parcels import MIRROR, check_space, mirror_margin, space_of_grid
from bids_app.quality import checks as qc

LIN6, LIN2009 = "MNI152NLin6Asym", "MNI152NLin2009cAsym"
GRIDS = {
    "NLin6 1 mm": (LIN6, (182, 218, 182), 1.0, (-91, -126, -72)),
    "NLin6 2 mm": (LIN6, (91, 109, 91), 2.0, (-90, -126, -72)),
    "NLin6 1.6 mm": (LIN6, (113, 136, 113), 1.6, (-89.2, -126, -72)),
    "NLin6 native 3 mm": (LIN6, (61, 73, 61), 3.0, (-91, -126, -72)),
    "2009c 1 mm": (LIN2009, (193, 229, 193), 1.0, (-96, -132, -78)),
    "2009c 2 mm": (LIN2009, (97, 115, 97), 2.0, (-96.5, -132.5, -78.5)),
    "2009c native 3 x 3 x 4 mm": (LIN2009, (65, 77, 49), (3, 3, 4), (-96, -132, -78)),
    "neither": (None, (64, 64, 36), 3.0, (-95, -110, -60)),
    "between both": (None, (46, 55, 46), 4.0, (-92, -128, -72)),
}


def affine_of(mm, first):
    affine = np.diag([*np.broadcast_to(mm, 3), 1.0])
    affine[:3, 3] = first
    return affine


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "PIR"])
@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_tells_its_template_in_any_orientation(name, orientation):
    space, shape, mm, first = GRIDS[name]
    affine = affine_of(mm, first)
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(orientation))
    turned = np.zeros(shape, dtype=np.int8)
    turned = nib.orientations.apply_orientation(turned, turn)
    assert space_of_grid(turned.shape, affine @ inv_ornt_aff(turn, shape)) == space


@pytest.mark.parametrize("name", GRIDS)
def test_an_image_named_after_the_other_template_is_refused(name):
    space, shape, mm, first = GRIDS[name]
    bold = SimpleNamespace(path="sub-1_bold.nii.gz", shape=shape, affine=affine_of(mm, first))
    if space is None:
        check_space(bold.path, bold.shape, bold.affine, space=LIN6)
        check_space(bold.path, bold.shape, bold.affine, space=LIN2009)
        return
    check_space(bold.path, bold.shape, bold.affine, space=space)
    other = LIN6 if space == LIN2009 else LIN2009
    with pytest.raises(ScanError, match=f"says space-{other}, but .* grids of {space} begin"):
        check_space(bold.path, bold.shape, bold.affine, space=other)


# ------------------------------------------------------------------- left and right


def head(shape=(20, 20, 20)):
    """An atlas with a bulge on the right, and a mask around it."""
    labels = np.zeros(shape, dtype=np.int32)
    labels[4:16, 4:16, 4:16] = 3
    labels[16:18, 8:12, 8:12] = 5
    affine = affine_of(2.0, (-19, 0, 0))
    atlas = VolumeAtlas(
        name="head", space=LIN6, resolution="2", labels=labels, affine=affine, absent={},
        sha256="", path=Path("head.nii.gz"),
    )  # fmt: skip
    return atlas, labels > 0


def test_the_margin_is_positive_for_an_image_as_it_should_be_and_negative_for_its_mirror():
    atlas, mask = head()
    margin = mirror_margin(atlas, mask, atlas.affine)
    assert margin == pytest.approx(32 / (12**3 + 32))
    assert mirror_margin(atlas, mask[::-1], atlas.affine) == pytest.approx(-margin)


def test_the_stored_orientation_does_not_change_the_margin():
    atlas, mask = head()
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = len(mask) - 1
    same = mirror_margin(atlas, mask[::-1], atlas.affine @ turn)
    assert same == mirror_margin(atlas, mask, atlas.affine)


def test_a_mask_of_everything_says_nothing_and_one_beside_the_atlas_is_not_compared():
    atlas, mask = head()
    assert mirror_margin(atlas, np.ones_like(mask), atlas.affine) == 0
    far = atlas.affine.copy()
    far[2, 3] = 900
    assert mirror_margin(atlas, mask, far) is None


# ------------------------------------------------------------------- measured on real files

N_SCANS = 6


@pytest.fixture(scope="module")
def contents(shared_data):
    needed = [source for space in SPACES for source in origins.sources_of(space)]
    return atlas_fetch.read_from_folder(shared_data / "atlases", needed)


@pytest.fixture(scope="module")
def real(contents):
    """Real atlases by space and millimetres."""
    return {
        (s, mm): build_volume_atlas(s, mm, contents) for s in (LIN6, LIN2009) for mm in ("1", "2")
    }


@pytest.fixture(scope="module")
def series(shared_data):
    """Real series of the cortex, standardized: (T, 400) each."""
    with np.load(shared_data / "timeseries/stages_dev_schaefer400x7n_aseg19.npz") as archive:
        scans = [archive[key][:400].T for key in list(archive)[:N_SCANS]]
    return [(values - values.mean(axis=0)) / values.std(axis=0) for values in scans]


@pytest.fixture(scope="module")
def brain(shared_data, real):
    """The brain mask of MNI152NLin2009cAsym on its 2 mm grid."""
    name = "cpac_tpl-MNI152NLin2009cAsym_res-01_desc-brain_mask.nii.gz"
    image, grid = nib.load(shared_data / "atlases/mni" / name), real[LIN2009, "2"]
    mask = (np.asarray(image.dataobj) > 0).astype(np.int32)
    return resample_nearest(mask, image.affine, grid.labels.shape, grid.affine) > 0


def agreement(scans, true, used):
    """Median and 5th percentile over parcels of r with the truth, averaged over scans.

    Each voxel carries the series of the parcel that it truly belongs to: the mean over a
    wrong set of voxels is then a mixture, by the shares of the true parcels in it.
    """
    pairs = used.ravel().astype(np.int64) * 458 + true.ravel()
    count = np.bincount(pairs, minlength=458 * 458).reshape(458, 458)[1:401, 1:401]
    both = []
    for values in scans:
        r = correlations(values @ count.T, values)
        both.append((np.median(r), np.percentile(r, 5)))
    return np.mean(both, axis=0)


def correlations(ours, truth):
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(ours.T, truth.T, strict=True)])


def on_grid_of(image, other, *, mirrored=False):
    affine = MIRROR @ other.affine if mirrored else other.affine
    return resample_nearest(image.labels, image.affine, other.labels.shape, affine)


@pytest.mark.parametrize(
    ("data", "atlas", "expected"),
    [(LIN6, LIN2009, (0.998, 0.987)), (LIN2009, LIN6, (0.997, 0.963))],
)
def test_a_wrong_space_mixes_neighbours_and_is_refused(real, series, data, atlas, expected):
    grid = real[data, "2"]
    used = on_grid_of(real[atlas, "1"], grid)
    assert agreement(series, grid.labels, used) == pytest.approx(expected, abs=0.01)
    own = (used == grid.labels)[(used > 0) & (used <= 400)].mean()
    assert 0.75 < own < 0.85  # a fifth of the voxels are another parcel's, or nobody's
    bold = SimpleNamespace(path="x", shape=grid.labels.shape, affine=grid.affine)
    with pytest.raises(ScanError, match=f"grids of {data} begin"):
        check_space(bold.path, bold.shape, bold.affine, space=atlas)


@pytest.mark.parametrize("space", [LIN6, LIN2009])
def test_a_mirrored_image_gives_another_hemisphere_s_series(real, series, space):
    grid = real[space, "2"]
    used = on_grid_of(real[space, "1"], grid, mirrored=True)
    median, worst = agreement(series, grid.labels, used)
    assert 0.4 < median < 0.65
    assert worst < 0.2


def flagged(margin):
    numbers = {"n_low_coverage_parcels": 0, **qc.place_numbers(margin)}
    nothing = np.zeros(457, dtype=bool)
    return "mirrored" in qc.flags(numbers, n_samples=0, missing=nothing, in_atlas=~nothing)


def test_the_mask_of_a_mirrored_image_is_noticed(real, brain):
    atlas = real[LIN2009, "1"]
    grid = real[LIN2009, "2"].affine
    # As the scanner's or a converter's error has it: voxels swapped, header and mask with them.
    turn = np.diag([-1.0, 1, 1, 1])
    turn[0, 3] = len(brain) - 1
    right, wrong = mirror_margin(atlas, brain, grid), mirror_margin(atlas, brain, MIRROR @ grid)
    assert right == pytest.approx(0.023, abs=0.003)
    assert wrong == pytest.approx(-right)
    assert not flagged(right)
    assert flagged(wrong)
    assert mirror_margin(atlas, brain[::-1], grid @ turn) == pytest.approx(right)


@pytest.mark.parametrize("fwhm_mm", [10, 60])
def test_a_mask_whose_outline_is_2_mm_off_still_tells_left_from_right(real, brain, fwhm_mm):
    atlas, grid = real[LIN2009, "1"], real[LIN2009, "2"].affine
    rng = np.random.default_rng(0)
    depth_mm = 2 * (distance_transform_edt(brain) - distance_transform_edt(~brain))
    for _ in range(3):
        error = gaussian_filter(rng.normal(size=brain.shape), fwhm_mm / 2.355 / 2)
        mask = depth_mm + 2 * error / error.std() > 0
        assert mirror_margin(atlas, mask, grid) > 0.01


def test_a_sign_error_of_the_header_alone_leaves_the_atlas_behind(real, brain):
    """The origin stays: the head lies beside the atlas, and the run fails for want of voxels."""
    grid = real[LIN2009, "2"]
    wrong = grid.affine @ np.diag([-1.0, 1, 1, 1])
    labels = resample_nearest(grid.labels, grid.affine, grid.labels.shape, wrong)
    assert not (brain & (labels > 0)).any()


def test_an_unwarped_cerebellum_is_a_millimetre_off_and_never_built(real, contents):
    """Stand-in for the transform: the affine between the centres of the 450 common parcels."""
    to_lin6 = common_affine(real)
    networks, grid = parse_labels(contents[origins.CEREBELLUM[LIN6]], source="x")
    target = real[LIN2009, "2"]
    shape = target.labels.shape
    unwarped = resample_nearest(networks, grid, shape, target.affine)
    warped = resample_nearest(networks, grid, shape, to_lin6 @ target.affine)
    own = [(warped == k)[unwarped == k].mean() for k in range(1, 8)]
    assert 0.92 < min(own) < max(own) <= 1
    assert sorted(target.absent) == list(range(451, 458))
    assert target.labels.max() == 450


def common_affine(real):
    centres = []
    for space in (LIN2009, LIN6):
        labels, affine = real[space, "1"].labels, real[space, "1"].affine
        chosen = (labels > 0) & (labels <= 450)
        parcel = labels[chosen]
        sums = [np.bincount(parcel, weights=axis)[1:] for axis in np.argwhere(chosen).T]
        centres.append(nib.affines.apply_affine(affine, (sums / np.bincount(parcel)[1:]).T))
    ours = np.hstack([centres[0], np.ones((450, 1))])
    fitted = np.linalg.lstsq(ours, centres[1], rcond=None)[0].T
    assert np.median(np.linalg.norm(ours @ fitted.T - centres[1], axis=1)) < 0.4
    return np.vstack([fitted, [0, 0, 0, 1]])


ORDERS = {
    "halves swapped": (np.r_[200:400, :200], 0.18),
    "shifted by one": (np.roll(np.arange(400), 1), 0.31),
    "left and right in turns": (np.arange(400).reshape(2, 200).T.ravel(), 0.0),
    "subcortex first": (np.roll(np.arange(400), 50), 0.0),
}


@pytest.mark.parametrize("name", ORDERS)
def test_a_wrong_order_of_the_cortex_gives_other_parcels_series(series, name):
    order, expected = ORDERS[name]
    found = np.mean([np.median(correlations(v[:, order], v)) for v in series])
    assert found == pytest.approx(expected, abs=0.08)


def test_real_voxels_below_the_cortex_in_a_wrong_space_order_or_mirrored(
    real, contents, shared_data
):
    """16 volumes of a real run: its own voxels, with their noise."""
    path = next((shared_data / "bold").glob("*_space-fsLR_den-91k_bold.dtseries.nii"))
    run = open_cifti(path)
    gray = build_grayordinate_atlas(contents, density="91k")
    tables = tables_of(gray.axis, gray.labels)
    below = run.axis.volume_mask
    values = np.asarray(nib.load(path).dataobj, dtype=np.float64)[:, below]
    centres = nib.affines.apply_affine(run.axis.affine, run.axis.voxel[below]).T
    cerebellar = np.char.find(run.axis.name[below].astype(str), "CEREBELLUM") >= 0
    networks, grid = parse_labels(contents[origins.CEREBELLUM[LIN6]], source="x")

    def at(labels, affine, points):
        to_index = np.linalg.inv(affine)
        index = np.rint(to_index[:3, :3] @ points + to_index[:3, 3:]).astype(int)
        inside = ((index >= 0) & (index < np.array(labels.shape)[:, None])).all(axis=0)
        return np.where(inside, labels[tuple(np.where(inside, index, 0))], 0)

    def means(labels):
        return np.stack([values[:, labels == p].mean(axis=1) for p in range(401, 458)], axis=1)

    truth = means(match(run, tables)[below])
    away = np.linalg.inv(common_affine(real))
    shifted = away[:3, :3] @ centres + away[:3, 3:]
    buckner = np.where(cerebellar, at(networks, grid, shifted), 0)
    tian = np.where(cerebellar, 0, at(*place(real[LIN2009, "1"]), centres))
    wrong = means(np.where(buckner > 0, buckner + 450, tian))
    r = correlations(wrong, truth)
    assert np.median(r[:50]) > 0.99
    assert 0.85 < np.percentile(r[:50], 5) < 0.95
    assert np.median(r[50:]) > 0.98
    assert 0.93 < r[50:].min() < 0.99
    mirrored = correlations(
        means(at(tables.labels, tables.affine, centres * [[-1], [1], [1]])), truth
    )
    assert np.median(mirrored[:50]) < 0.5
    assert np.median(mirrored[50:]) > 0.95  # the cerebellar networks span both hemispheres
    sides = correlations(truth[:, np.r_[25:50, :25]], truth[:, :50])
    assert np.median(sides) < 0.5


def place(image):
    return np.where(image.labels > 450, 0, image.labels), image.affine
