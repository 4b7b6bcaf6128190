"""All faults, and which of them continuous integration plays."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from faults import CallFault
from table_calls import call_faults
from table_confounds import confound_faults
from table_images import image_faults
from table_names import name_faults
from table_options import option_faults
from table_outputs import output_faults
from table_shared import shared_faults
from table_sidecars import sidecar_faults

if TYPE_CHECKING:
    from faults import Fault

_TABLES = (
    option_faults,
    call_faults,
    shared_faults,
    sidecar_faults,
    confound_faults,
    image_faults,
    name_faults,
    output_faults,
)
_EVERY_SCAN, _EVERY_CALL = 7, 24
"""One in so many is played daily; scans share an invocation, a call is one."""


def all_faults() -> list[Fault]:
    """Return every fault of the campaign; no two have one name."""
    faults: list[Fault] = [fault for table in _TABLES for fault in table()]
    twice = [name for name, count in Counter(fault.name for fault in faults).items() if count > 1]
    if twice:
        raise ValueError(f"faults of one name: {twice}")
    return faults


def daily_faults() -> list[Fault]:
    """Return a part of every table that takes less than a minute on two cores."""
    faults = all_faults()
    calls = [fault for fault in faults if isinstance(fault, CallFault)]
    shared = [fault for fault in faults if not isinstance(fault, CallFault) and not fault.alone]
    return [*shared[::_EVERY_SCAN], *calls[::_EVERY_CALL]]
