"""The part of the campaign that continuous integration plays (tools/fault_campaign.py: all)."""

from __future__ import annotations

import re
from collections import defaultdict

import pytest
from campaign import all_faults, daily_faults, kind_of
from faults import CallFault
from playing import play_all
from scenes import PARTICIPANT, Stage

_GROUPS: dict[str, list] = defaultdict(list)
for _fault in daily_faults():
    _GROUPS[kind_of(_fault)].append(_fault)
_SAID_ANYWAY = (
    "2026-11-27 10:00:00,000 INFO 2 participants, 2 BOLD series, reading /tmp/x/scene0001/in\n"
    "semantoks: error: /tmp/x/scene0001/out\n"
)
"""A pattern that this holds tells nothing of a fault."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize("group", sorted(_GROUPS))
def test_faults_end_as_promised(stage, group) -> None:
    lost = {v.fault: v.lost for v in play_all(_GROUPS[group], stage) if v.lost}
    assert not lost


def test_every_kind_is_played_daily_but_what_must_be_played_alone() -> None:
    shared = [fault for fault in all_faults() if isinstance(fault, CallFault) or not fault.alone]
    assert set(map(kind_of, shared)) == set(_GROUPS)


def test_a_promise_is_more_than_any_exit_code() -> None:
    for fault in all_faults():
        if isinstance(fault, CallFault):
            if fault.codes - {0}:
                assert fault.says, fault.name
            if 0 in fault.codes and len(fault.codes) > 1:
                assert fault.check, fault.name
            empty = [p for p in fault.says if re.search(p, _SAID_ANYWAY, re.IGNORECASE)]
            assert not empty, fault.name


def test_a_dry_run_knows_grayordinates_that_are_not_the_atlas(stage) -> None:
    (fault,) = [
        fault
        for fault in all_faults()
        if fault.name == "grayordinates/xml/surface-of-another-density"
    ]
    scene = stage.scene((), "grayordinates")
    fault.damage(scene.victim())
    answer = stage.play((*PARTICIPANT, "--dry-run"), scene)
    assert answer.code == 1
    assert re.search(r"failed .*32492 vertices; expected 660", answer.text)
