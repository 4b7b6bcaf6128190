"""Simulated scans with a known truth, the app run on them, the comparison."""
