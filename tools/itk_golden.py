"""Write a small composite transform with ITK itself, and where it takes some points.

    pip install SimpleITK==2.5.7 && python tools/itk_golden.py tests/golden/itk

An affine after a displacement field on a rotated lattice of uneven spacing; points (RAS) lie
inside and outside of it. SimpleITK is no dependency: it is needed for this file alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 as its documentation has it


def main(folder: Path) -> None:
    rng = np.random.default_rng(7)
    size, spacing, origin = (4, 5, 3), np.array([2.0, 1.5, 3.0]), np.array([10.0, -12.0, 5.0])
    turn = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    image = sitk.GetImageFromArray(rng.normal(size=(*size[::-1], 3)) * 4, isVector=True)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(origin.tolist())
    image.SetDirection(turn.ravel().tolist())
    affine = sitk.AffineTransform(3)
    affine.SetMatrix([1.02, 0.1, -0.05, 0.03, 0.97, 0.02, -0.01, 0.04, 1.1])
    affine.SetTranslation((3, -5, 7))
    affine.SetCenter((0.07, 19.2, 2.15))
    composite = sitk.CompositeTransform([affine, sitk.DisplacementFieldTransform(image)])
    sitk.WriteTransform(composite, str(folder / "composite.h5"))
    index = rng.uniform(-1.5, np.array(size) + 0.5, size=(60, 3))
    points = index @ (turn * spacing).T + origin
    moved = np.array([composite.TransformPoint(point) for point in points.tolist()])
    lps = [-1, -1, 1]
    content = {"points": (points * lps).tolist(), "moved": (moved * lps).tolist()}
    (folder / "points.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
