"""One call of a command, from within: how far it is, and whether it has been told to end.

Knows neither what is worked on nor which command it is.
"""

__all__ = ("interrupts", "progress")
