"""Parcel series that other programs made: read, mapped to the 457 parcels, embedded."""
