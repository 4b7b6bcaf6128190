"""Files: foreign ones read with faults of one type, ours written whole or not at all.

The only room of both packages that knows which exceptions a reader raises. Settings and the
options that give them are declared by what is here too. It knows no name of any file.
"""

__all__ = (
    "figures",
    "read",
    "settings",
    "shared_options",
    "write",
)
