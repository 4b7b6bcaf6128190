"""What the app wrote about a cohort, as arrays."""
