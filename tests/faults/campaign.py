"""All faults, and which of them continuous integration plays."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from faults import CallFault
from of_calls.dry_runs import dry_run_faults
from of_calls.files import file_faults
from of_calls.group import group_faults
from of_calls.method import method_faults
from of_calls.options import option_faults
from of_calls.places import place_faults
from of_calls.series import series_faults
from of_calls.shared import shared_faults
from of_scans.confounds import confound_faults
from of_scans.grayordinates import grayordinate_faults
from of_scans.images import image_faults
from of_scans.names import name_faults
from of_scans.outputs import output_faults
from of_scans.sidecars import sidecar_faults

if TYPE_CHECKING:
    from faults import Fault

_TABLES = (
    option_faults,
    file_faults,
    place_faults,
    dry_run_faults,
    group_faults,
    shared_faults,
    series_faults,
    method_faults,
    sidecar_faults,
    confound_faults,
    image_faults,
    grayordinate_faults,
    name_faults,
    output_faults,
)
_EVERY_SCAN, _EVERY_CALL = 7, 24
"""One in so many of a kind is played daily; scans share an invocation, a call is one."""


def all_faults() -> list[Fault]:
    """Return every fault of the campaign; no two have one name."""
    faults: list[Fault] = [fault for table in _TABLES for fault in table()]
    twice = [name for name, count in Counter(fault.name for fault in faults).items() if count > 1]
    if twice:
        raise ValueError(f"faults of one name: {twice}")
    return faults


def daily_faults() -> list[Fault]:
    """Return a part of every kind, one at least, that takes about a minute on two cores.

    What might never end, or take all memory, is left to the whole campaign.
    """
    kinds: dict[tuple[type, str], list[Fault]] = defaultdict(list)
    for fault in all_faults():
        if isinstance(fault, CallFault) or not fault.alone:
            kinds[type(fault), kind_of(fault)].append(fault)
    return [
        fault
        for (made_of, _), faults in kinds.items()
        for fault in faults[:: _EVERY_CALL if made_of is CallFault else _EVERY_SCAN]
    ]


def kind_of(fault: Fault) -> str:
    """Return the first part of a fault's name."""
    return fault.name.partition("/")[0]
