"""Numbers and flags that judge a scan, from its arrays and its grid.

Reads and writes no file. Flags warn, they never exclude.
"""

__all__ = ("checks", "measures")
