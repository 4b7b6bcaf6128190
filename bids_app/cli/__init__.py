"""The command line of the app: words to options, outcomes to exit codes; only this room prints.

`app` is the program, and the BIDS App's own command; every other command is a module of its name.
"""

__all__ = ("app",)
