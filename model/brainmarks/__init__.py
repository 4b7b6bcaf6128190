"""The encoder and the app's outputs in the evaluation suite brainmarks.

Does not import the suite: its registry finds ``brainmarks/`` beside this package.
"""

__all__ = ("arrow", "options", "scan_encoder")
