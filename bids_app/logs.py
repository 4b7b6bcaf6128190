"""Log lines on stderr, in this process and in those it starts."""

from __future__ import annotations

import logging
import sys

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_TIME = "%Y-%m-%d %H:%M:%S"
_OURS = ("bids_app", "model")

Levels = dict[str, int]
"""Level by logger; "" is the root"""


def levels_of(*, verbose: int, quiet: bool) -> Levels:
    """Translate ``-v`` and ``-q``; other libraries' lines come from ``-vv`` on."""
    ours = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    others = logging.DEBUG if verbose > 1 else logging.ERROR
    return {"": others, **dict.fromkeys(_OURS, ours)}


def current_levels() -> Levels:
    """Return the levels of this process, for one that it starts."""
    return {name: logging.getLogger(name).level for name in ("", *_OURS)}


def set_up_logging(levels: Levels) -> None:
    """Send log lines of these levels to stderr."""
    logging.basicConfig(stream=sys.stderr, format=_FORMAT, datefmt=_TIME, force=True)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
