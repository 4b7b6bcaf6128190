"""Simulated scans of 457 parcels."""
