"""Numbers and checks of a scan, from arrays."""
