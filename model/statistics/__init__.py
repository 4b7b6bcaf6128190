"""Measures, intervals and connectivity: pure numpy."""
