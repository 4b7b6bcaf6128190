"""NIfTI and CIFTI behind one protocol: opened once, values streamed into parcel means.

Lies above the atlas, since an image gives its parcels; knows nothing of confounds and outputs.
"""

__all__ = ("image", "nifti", "parcels", "slices", "stream")
