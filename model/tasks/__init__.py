"""Task blocks as windows, and what each network says by itself.

Takes series, windows and events; reads no file.
"""

__all__ = ("block_windows", "single_networks")
