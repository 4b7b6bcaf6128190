"""NIfTI and CIFTI behind one protocol: header once, values streamed into parcel means."""

__all__ = ("image", "nifti", "parcels", "stream")
