"""The part of the campaign that continuous integration plays (tools/fault_campaign.py: all)."""

from __future__ import annotations

from collections import defaultdict

import pytest
from campaign import all_faults, daily_faults
from faults import CallFault
from playing import play_all
from scenes import Stage

_GROUPS: dict[str, list] = defaultdict(list)
for _fault in daily_faults():
    _GROUPS[_fault.name.partition("/")[0]].append(_fault)


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize("group", sorted(_GROUPS))
def test_faults_end_as_promised(stage, group) -> None:
    lost = {v.fault: v.lost for v in play_all(_GROUPS[group], stage) if v.lost}
    assert not lost


def test_a_promise_is_more_than_any_exit_code() -> None:
    for fault in all_faults():
        if isinstance(fault, CallFault) and fault.codes - {0}:
            assert fault.says, fault.name
