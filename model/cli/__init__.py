"""The command `semantoks-model`: the whole method, from checkpoints to scaling."""

__all__ = ("options", "program")
