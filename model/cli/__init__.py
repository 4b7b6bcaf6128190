"""The command line of the method, and what both programs are made of.

`program` makes options of settings classes and says how a command ends; only this room imports
click.
"""

__all__ = ("app", "program")
