"""Files: foreign ones read with faults of one type, ours written whole or not at all.

The only room of both packages that catches what readers raise. Settings and the
options that give them are declared by what is here too. It knows no name of any file.
"""

__all__ = (
    "arrays",
    "cells",
    "content",
    "faults",
    "home",
    "read",
    "settings",
    "shared_options",
    "tables",
    "write",
)
