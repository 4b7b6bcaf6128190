"""Files: foreign ones read with faults of one type, ours written whole or not at all.

The only room of both packages that knows which exceptions a reader raises; knows no names.
"""

__all__ = ("fault", "figures", "fingerprint", "read", "strict", "tables", "write")
