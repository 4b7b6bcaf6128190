"""The command line of the method, and what both programs are made of.

`program` says how a command ends, `options` makes options of settings classes; only this room
imports click.
"""

__all__ = ("app", "options", "program")
