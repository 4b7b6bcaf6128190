"""Group level: one table of all scans, from participant outputs only."""
