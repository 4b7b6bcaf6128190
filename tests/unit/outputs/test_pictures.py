"""The archive of a scan's pictures: the same arrays back, the same bytes, damage told."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bids_app.images.parcels import Coverage, Parcellated
from bids_app.images.slices import PLANES, Slices
from bids_app.outputs.pictures import pictures_npz, read_pictures
from bids_app.signal.effect import Effect
from model.files.faults import FileError

if TYPE_CHECKING:
    from pathlib import Path

N = 457
RNG = np.random.default_rng(0)


def effect() -> Effect:
    raw = RNG.integers(1, 256, (50, N), dtype=np.uint8)
    despiked = raw.copy()
    despiked[3, 7] = 1
    return Effect(
        raw=raw, despiked=despiked, global_signal=np.zeros(60, dtype=np.float32),
        frequency_hz=np.arange(31, dtype=np.float32), power=np.ones((2, 31), dtype=np.float32),
        fd_correlation=np.zeros((2, N), dtype=np.float32),
        variance=np.full((3, N), 1 / 3, dtype=np.float32),
    )  # fmt: skip


def extracted(*, mask: bool = True, surface: bool = False) -> Parcellated:
    shapes = dict.fromkeys(PLANES, (7, 20, 30))
    count = np.full(N, 10)
    return Parcellated(
        values=RNG.normal(1000, 1, (60, N)),
        coverage=Coverage(
            n_voxels_atlas=count, n_voxels_used=count, fraction=count / 10, reason=("",) * N
        ),
        mask_source="file",
        n_nonfinite_voxels=0,
        blank=np.zeros(60),
        slices=Slices(
            labels={p: RNG.integers(0, N + 1, s).astype(np.uint16) for p, s in shapes.items()},
            grey={p: RNG.integers(0, 256, s, dtype=np.uint8) for p, s in shapes.items()},
            mask={p: RNG.random(s) > 0.5 for p, s in shapes.items()} if mask else None,
            surface=np.ones((2, 10242), dtype=np.uint16) if surface else None,
        ),
    )


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("surface", [True, False])
def test_what_is_read_back_is_what_was_written_in_the_same_bytes(tmp_path, mask, surface) -> None:
    scan, measured = extracted(mask=mask, surface=surface), effect()
    content = pictures_npz(scan, measured)
    assert content == pictures_npz(scan, measured)
    (tmp_path / "x.npz").write_bytes(content)
    found = read_pictures(tmp_path / "x.npz")
    for plane in PLANES:
        np.testing.assert_array_equal(found.slices.labels[plane], scan.slices.labels[plane])
        np.testing.assert_array_equal(found.slices.grey[plane], scan.slices.grey[plane])
        if mask:
            np.testing.assert_array_equal(found.slices.mask[plane], scan.slices.mask[plane])
    assert (found.slices.mask is None) == (not mask)
    assert (found.slices.surface is None) == (not surface)
    np.testing.assert_array_equal(found.effect.raw, measured.raw)
    np.testing.assert_array_equal(found.effect.despiked, measured.despiked)
    np.testing.assert_allclose(found.level, 1, atol=0.01)


def changed(path: Path, **arrays: np.ndarray | None) -> Path:
    """Write the archive with other arrays; None: without one."""
    with np.load(io.BytesIO(pictures_npz(extracted(), effect()))) as held:
        content = {name: held[name] for name in held.files} | arrays
    np.savez(path, **{name: values for name, values in content.items() if values is not None})
    return path


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"raw": None}, "lacks the arrays raw"),
        ({"variance": np.zeros((3, 4))}, "variance has shape"),
        ({"variance": np.full((3, N), np.nan)}, "variance holds values that are not finite"),
        ({"level": np.full(N, np.inf)}, "level holds values that are not finite"),
        ({"power": np.full((2, 31), np.nan)}, "power holds values that are not finite"),
        ({"axial_labels": np.full((7, 20, 30), 458, dtype=np.uint16)}, "no slices of the atlas"),
        ({"axial_labels": np.ones((7, 20, 30))}, "no slices of the atlas"),
        ({"axial_mask": np.ones((7, 20, 31), dtype=np.uint8)}, "axial_mask has shape"),
        ({"surface": np.ones((2, 5), dtype=np.uint16)}, "surface has shape"),
        ({"raw": np.ones((50, N))}, "expected bytes"),
    ],
)
def test_an_archive_of_other_arrays_is_refused(tmp_path, arrays, said) -> None:
    with pytest.raises(FileError, match=said):
        read_pictures(changed(tmp_path / "x.npz", **arrays))


def test_a_cut_archive_is_refused(tmp_path) -> None:
    content = pictures_npz(extracted(), effect())
    (tmp_path / "x.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError):
        read_pictures(tmp_path / "x.npz")
    assert zipfile.is_zipfile(io.BytesIO(content))
