"""How figures look and how they become files: the same colours, types and words everywhere.

Knows neither what is drawn nor where it is written. Nothing here touches pyplot or leaves
matplotlib's settings changed; matplotlib is imported when something is drawn.
"""

__all__ = ("render", "style")
