"""Simulated scans with a known truth, on a head made of ellipsoids. Arrays only, no files.

Nothing here is derived from an atlas, a template image or a recording: the head is geometry
in MNI millimetres, the parcels are a deterministic partition of it, the signals are drawn.
What fMRIPrep would report beside such a scan is in `bids_app.demo.nuisance`, the files
in `bids_app.demo.tree`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.networks import NETWORKS, network_columns, parcels
from model.series import shown

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BAND_HZ = (0.01, 0.1)
"""Edges of the band in which the true parcel signals live."""

# Centre and semi-axes (mm, RAS): a plausible head, not a measured one.
_CEREBRUM = ((0.0, -16.0, 17.0), (70.0, 90.0, 62.0))
_CEREBELLUM = ((0.0, -66.0, -42.0), (52.0, 30.0, 24.0))
_SUBCORTEX = ((0.0, -10.0, 2.0), (38.0, 42.0, 21.0))
_VENTRICLES = ((0.0, -12.0, 29.0), (20.0, 36.0, 11.0))
_TENTORIUM_Z = -18.0
_WHITE_MATTER_RADIUS = 0.72
"""Radius inside which the cerebrum is white matter, as a share of the whole."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Shape and affine (voxel to mm, RAS) of a volume."""

    shape: tuple[int, int, int]
    affine: FloatArray

    __repr__ = shown


def template_grid(voxel_mm: float) -> Grid:
    """Return a grid whose voxel centres span the box of the MNI152NLin2009cAsym template.

    The template at 1 mm holds 193 x 229 x 193 voxels with centres from (-96, -132, -78) on.
    """
    shape = tuple(math.floor(extent / voxel_mm) + 1 for extent in (192, 228, 192))
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = (-96.0, -132.0, -78.0)
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine)


def tiny_grid() -> Grid:
    """Return the smallest convenient grid that still holds all 457 parcels: 12 x 14 x 12."""
    affine = np.diag([13.0, 13.0, 13.0, 1.0])
    affine[:3, 3] = (-71.5, -99.5, -65.0)
    return Grid(shape=(12, 14, 12), affine=affine)


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A brain of ellipsoids, partitioned into the 457 parcels, white matter and CSF."""

    grid: Grid
    labels: npt.NDArray[np.int16]
    """(X, Y, Z) parcel index 1-457; 0 elsewhere"""
    brain: npt.NDArray[np.bool_]
    """(X, Y, Z) true in parcels, white matter and CSF"""
    csf: npt.NDArray[np.bool_]
    """(X, Y, Z)"""

    __repr__ = shown

    @property
    def white_matter(self) -> npt.NDArray[np.bool_]:
        """(X, Y, Z) what is neither parcel nor CSF."""
        return np.asarray(self.brain & ~self.csf & (self.labels == 0))


def make_head(grid: Grid) -> Head:
    """Partition an ellipsoid brain into the 457 parcels on a grid.

    Cortical parcels fill a shell, subcortical ones the centre, cerebellar ones a body at the
    back and bottom; left and right follow the hemisphere in the label table. Each region is
    cut in halves along its widest side until one parcel is left, so that parcels of one
    network lie together and every parcel has voxels.

    Raises
    ------
    ValueError
        A region of the grid has fewer voxels than parcels.
    """
    mm = _voxel_centres(grid)
    cerebellum = (_radius(mm, _CEREBELLUM) <= 1) & (mm[..., 2] < _TENTORIUM_Z)
    cerebrum = (_radius(mm, _CEREBRUM) <= 1) & ~cerebellum
    subcortex = (_radius(mm, _SUBCORTEX) <= 1) & cerebrum
    fissure = cerebrum & (mm[..., 0] == 0)
    csf = fissure | ((_radius(mm, _VENTRICLES) <= 1) & cerebrum & ~subcortex)
    deep = _radius(mm, _CEREBRUM) < _WHITE_MATTER_RADIUS
    regions = {"Subcortical": subcortex & ~csf, "Cerebellum": cerebellum}
    cortex = cerebrum & ~subcortex & ~csf & ~deep

    labels = np.zeros(grid.shape, dtype=np.int16)
    side = {"L": mm[..., 0] < 0, "R": mm[..., 0] > 0, "B": np.ones(grid.shape, dtype=bool)}
    for where, names in ((cortex, NETWORKS[:7]), *((regions[n], (n,)) for n in NETWORKS[7:])):
        for hemisphere, half in side.items():
            chosen = [p.index for p in parcels() if p.network in names]
            chosen = [i for i in chosen if parcels()[i - 1].hemisphere == hemisphere]
            if chosen:
                _partition(labels, np.argwhere(where & half), chosen)
    return Head(grid=grid, labels=labels, brain=cerebrum | cerebellum, csf=csf)


def _voxel_centres(grid: Grid) -> FloatArray:
    """(X, Y, Z, 3) millimetres."""
    ijk = np.moveaxis(np.indices(grid.shape), 0, -1)
    return np.asarray(ijk @ grid.affine[:3, :3].T + grid.affine[:3, 3])


def _radius(
    mm: FloatArray, ellipsoid: tuple[tuple[float, float, float], tuple[float, float, float]]
) -> FloatArray:
    """(X, Y, Z) distance from the centre in semi-axes: 1 on the surface."""
    centre, axes = ellipsoid
    return np.asarray(np.linalg.norm((mm - centre) / axes, axis=-1))


def _partition(labels: npt.NDArray[np.int16], voxels: IntArray, parcel_ids: list[int]) -> None:
    """Write the parcels into `labels`, sharing the (V, 3) voxels among them."""
    if len(voxels) < len(parcel_ids):
        msg = f"{len(voxels)} voxels cannot hold parcels {parcel_ids[0]} to {parcel_ids[-1]}"
        raise ValueError(msg)
    if len(parcel_ids) == 1:
        labels[tuple(voxels.T)] = parcel_ids[0]
        return
    # lexsort makes the order of voxels with one coordinate, hence the cut, deterministic.
    axis = int(np.argmax(np.ptp(voxels, axis=0)))
    others = [voxels[:, k] for k in range(3) if k != axis]
    ordered = voxels[np.lexsort((*others, voxels[:, axis]))]
    n_first = len(parcel_ids) // 2
    cut = round(len(voxels) * n_first / len(parcel_ids))
    _partition(labels, ordered[:cut], parcel_ids[:n_first])
    _partition(labels, ordered[cut:], parcel_ids[n_first:])


def random_for(*labels: str) -> np.random.Generator:
    """Return the generator that belongs to some labels, the same on every machine."""
    return np.random.default_rng(list("/".join(labels).encode()))


def band_limited(
    rng: np.random.Generator, *, n_signals: int, n_volumes: int, tr_s: float
) -> FloatArray:
    """Draw (T, n) signals between 0.01 and 0.1 Hz with power falling as 1/f, unit variance."""
    # Cut from a longer draw: the ends do not join, and short scans still hold slow waves.
    length = n_volumes + math.ceil(400 / tr_s)
    hz = np.fft.rfftfreq(length, tr_s)
    inside = (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])
    gain = np.zeros_like(hz)
    gain[inside] = hz[inside] ** -0.5
    spectrum = np.fft.rfft(rng.standard_normal((length, n_signals)), axis=0)
    signals = np.fft.irfft(spectrum * gain[:, None], n=length, axis=0)
    return np.asarray(signals[:n_volumes] / signals.std(axis=0))


def parcel_signals(
    *, subject: np.random.Generator, scan: np.random.Generator, n_volumes: int, tr_s: float
) -> FloatArray:
    """Draw the true signals of the 457 parcels in one scan.

    Each parcel mixes its network's course, sixteen courses spread over the brain with
    weights that are the subject's own, and a course that only this parcel has. The weights
    come from `subject`, the courses from `scan`: sessions of one subject share covariance.

    Returns
    -------
    (T, P) percent signal change, each parcel of about unit variance.
    """
    n_parcels, n_spread = len(parcels()), 16
    weights = subject.standard_normal((n_spread, n_parcels)) / math.sqrt(n_spread)
    network = subject.uniform(0.5, 0.9, n_parcels)

    def draw(n_signals: int) -> FloatArray:
        return band_limited(scan, n_signals=n_signals, n_volumes=n_volumes, tr_s=tr_s)

    common = np.empty((n_volumes, n_parcels))
    for course, name in zip(draw(len(NETWORKS)).T, NETWORKS, strict=True):
        columns = network_columns(name)
        common[:, columns] = course[:, None] * network[columns]
    return common + 0.6 * draw(n_spread) @ weights + 0.4 * draw(n_parcels)


def head_motion(rng: np.random.Generator, *, n_volumes: int, tr_s: float) -> FloatArray:
    """Draw (T, 6) translations (mm) and rotations (rad): slow drift, jitter, a few jerks."""
    drift = np.cumsum(rng.standard_normal((n_volumes, 6)), axis=0) * 0.012 * math.sqrt(tr_s)
    jitter = 0.012 * rng.standard_normal((n_volumes, 6))
    jerks = np.zeros((n_volumes, 6))
    for start in rng.choice(np.arange(4, n_volumes), size=max(1, n_volumes // 80), replace=False):
        # There and back again within two volumes, and not quite to where it was.
        jerks[start : start + 2] += rng.normal(0, 0.35, 6)
        jerks[start + 2 :] += rng.normal(0, 0.05, 6)
    # A rotation by 1/50 rad moves the cortex by about a millimetre.
    return np.asarray((drift + jitter + jerks) * ([1.0] * 3 + [0.02] * 3))


def motion_terms(motion: FloatArray) -> FloatArray:
    """Expand (T, 6) to the (T, 24) terms: values, derivatives, and the squares of both.

    The derivative of the first volume is 0.
    """
    derivative = np.diff(motion, axis=0, prepend=motion[:1])
    return np.hstack([motion, derivative, motion**2, derivative**2])


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedScan:
    """One simulated scan and what is true about it."""

    tr_s: float
    truth: FloatArray
    """(T, P) percent signal change of each parcel, without any nuisance"""
    motion: FloatArray
    """(T, 6) mm and rad"""
    bold: npt.NDArray[np.float32]
    """(T, V) voxels of ``head.brain`` in array order"""
    n_dummy: int
    """Leading volumes that have not reached the steady state"""

    __repr__ = shown


def simulate_scan(
    head: Head,
    *,
    subject: np.random.Generator,
    scan: np.random.Generator,
    n_volumes: int,
    tr_s: float,
    n_dummy: int,
) -> SimulatedScan:
    """Simulate what a scanner and fMRIPrep would give of one scan.

    Every voxel is its tissue's intensity times one plus, in percent: the signal of its
    parcel; the 24 motion terms, two courses of physiology and a drift, all with weights that
    vary smoothly in space; and white noise. The physiology is strongest in white matter and
    CSF, where confounds can measure it. Leading volumes are brighter.
    """
    truth = parcel_signals(subject=subject, scan=scan, n_volumes=n_volumes, tr_s=tr_s)
    motion = head_motion(scan, n_volumes=n_volumes, tr_s=tr_s)
    where = head.brain
    labels, csf = head.labels[where], head.csf[where]
    grey = labels > 0
    maps = _smooth_maps(head)
    mm_maps = maps @ scan.standard_normal((maps.shape[1], 24 + 3))

    terms = motion_terms(motion)
    terms = (terms - terms.mean(axis=0)) / (terms.std(axis=0) + np.finfo(float).tiny)
    time = np.linspace(-1, 1, n_volumes)
    drift = np.stack([time, time**2 - 1 / 3, time**3], axis=1)
    courses = np.hstack([0.3 * terms, 0.8 * drift])
    percent = courses @ mm_maps.T
    percent += _physiology(scan, n_volumes, tr_s) @ np.stack(
        [
            np.where(csf, 0.2, np.where(grey, 0.6, 1.0)),
            np.where(csf, 1.2, np.where(grey, 0.4, 0.1)),
        ]
    )
    percent += 1.5 * scan.standard_normal(percent.shape, dtype=np.float32)
    percent[:, grey] += truth[:, labels[grey] - 1]

    intensity = np.where(csf, 1200.0, np.where(grey, 900.0, 750.0)) * (1 + 0.05 * maps[:, 1])
    volume = np.arange(n_volumes)[:, None]
    steady = 1 + 0.2 * np.exp(-volume / 0.7) * (volume < n_dummy)
    bold = intensity * (1 + percent / 100) * steady
    return SimulatedScan(
        tr_s=tr_s, truth=truth, motion=motion, bold=bold.astype(np.float32), n_dummy=n_dummy
    )


def _smooth_maps(head: Head) -> FloatArray:
    """(V, 10) constant, linear and quadratic maps of position, about 1 at the brain's rim."""
    x, y, z = ((_voxel_centres(head.grid)[head.brain] - _CEREBRUM[0]) / _CEREBRUM[1]).T
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x, y * y, z * z], axis=1)


def _physiology(rng: np.random.Generator, n_volumes: int, tr_s: float) -> FloatArray:
    """(T, 2) courses of unit variance: half in the band of the signals, half white."""
    slow = band_limited(rng, n_signals=2, n_volumes=n_volumes, tr_s=tr_s)
    return np.asarray((slow + rng.standard_normal(slow.shape)) / math.sqrt(2))
