"""Surrogate geometry of the parcels, read off the label table: no atlas voxels are needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from model.networks import NETWORKS, parcel_places, parcels
from model.series import shown

SMOOTHNESS_PARCELS = 8.0
"""Distance over which fields within a network decay by e."""
HOMOTOPIC_CORRELATION = 0.7
"""Of a field in homotopic parcels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """What the label table says about distances."""

    network: Tensor
    """(P,) index of each parcel's network"""
    distance: Tensor
    """(P, P) in parcels, of places in one hemisphere; infinite between hemispheres"""
    smoother: Tensor
    """(P, P) turns white noise into fields smooth within networks, alike in homotopic parcels"""

    __repr__ = shown


@cache
def layout() -> Layout:
    """Read the surrogate geometry off the label table."""
    table = parcels()
    network = np.array([NETWORKS.index(p.network) for p in table])
    side = np.array([p.hemisphere for p in table])
    position = parcel_places()
    apart = np.abs(position[:, None] - position[None, :])
    one_side = side[:, None] == side[None, :]
    near = np.exp(-apart / SMOOTHNESS_PARCELS)
    near *= network[:, None] == network[None, :]
    near *= np.where(one_side, 1.0, HOMOTOPIC_CORRELATION)
    eigenvalues, vectors = np.linalg.eigh(near)
    smoother = vectors * np.sqrt(np.clip(eigenvalues, 0, None)) @ vectors.T
    return Layout(
        network=torch.from_numpy(network),
        distance=torch.from_numpy(np.where(one_side, apart, np.inf)).float(),
        smoother=torch.from_numpy(smoother).float(),
    )
