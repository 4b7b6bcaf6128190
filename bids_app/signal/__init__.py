"""From the values of an image to cleaned parcel series."""
