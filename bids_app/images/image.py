"""What images of all kinds have in common."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from bids_app.images.cifti import count_volumes
from bids_app.inputs.scan import CIFTI_ENDING

if TYPE_CHECKING:
    from pathlib import Path


def count_frames(path: Path) -> int | None:
    """Read the number of volumes from the header; None where there is no good header."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        if path.name.endswith(CIFTI_ENDING):
            return count_volumes(path)
        shape = nib.load(path).shape
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error):
        return None  # told, with the cause, when the scan is read
    return int(shape[3]) if len(shape) == 4 else None
