"""What the app wrote, read back as arrays: the scans of an output folder.

`names` defines the names and columns that are read back, `record` how a scan ended; the app's
room `bids_app.outputs` takes them from there and defines all others. This room reads no image and
writes nothing.
"""

__all__ = ("names", "outputs", "record")
