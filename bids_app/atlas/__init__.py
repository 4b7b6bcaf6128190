"""The 457-parcel atlas: its spaces, its labels, an installed one read and checked.

Never changes one (`setup` does that, beforehand), and knows no scan.
"""

__all__ = ("grayordinates", "installed", "labels", "setup", "spaces", "volumes")
