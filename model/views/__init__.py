"""What the student is shown of a scan: crops, corruption, and which tokens it does not see.

Tensors in, tensors out; every draw comes from a generator that is passed in.
"""

__all__ = ("corruption", "masks")
