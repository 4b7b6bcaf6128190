"""Measures, pairings, intervals and connectivity: arrays in, numbers out.

Knows neither files nor encoders.
"""

__all__ = ("adjustment", "bootstrap", "connectivity", "measures", "pairing", "repetitions")
