"""ITK composite transforms (``.h5``) of known effect."""

from __future__ import annotations

import io

import h5py
import numpy as np


def composite(
    *, translation=(0, 0, 0), matrix=None, field=None, lattice=None, spelling="Transform"
):
    """Return a composite of an affine and, where given, a displacement field, all in LPS.

    Parameters
    ----------
    field
        (3, X, Y, Z) mm.
    lattice
        (4, 4) diagonal, with its origin; unit voxels at 0 unless given.
    spelling
        ``Tranform`` is what older versions of ITK wrote.
    """
    matrix = np.eye(3) if matrix is None else matrix
    stages = [(b"AffineTransform_double_3_3", [*np.ravel(matrix), *translation], [0, 0, 0])]
    if field is not None:
        lattice = np.eye(4) if lattice is None else lattice
        spacing = np.abs(np.diag(lattice)[:3])
        direction = lattice[:3, :3] / spacing
        fixed = [*field.shape[1:], *lattice[:3, 3], *spacing, *direction.ravel()]
        values = np.asarray(field).ravel(order="F")
        stages.append((b"DisplacementFieldTransform_double_3_3", values, fixed))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("TransformGroup")
        group.create_group("0")["TransformType"] = [b"CompositeTransform_double_3_3"]
        for number, (kind, parameters, fixed) in enumerate(stages, start=1):
            stage = group.create_group(str(number))
            stage["TransformType"] = [kind]
            stage[f"{spelling}Parameters"] = np.asarray(parameters, dtype=np.float64)
            stage[f"{spelling}FixedParameters"] = np.asarray(fixed, dtype=np.float64)
    return buffer.getvalue()
