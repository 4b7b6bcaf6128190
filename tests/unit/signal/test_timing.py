from __future__ import annotations

from types import SimpleNamespace

import pytest

from bids_app.errors import ScanError
from bids_app.signal.timing import repetition_time, start_time


def scan(tr_s: float | None, **sidecar: object) -> SimpleNamespace:
    return SimpleNamespace(name="sub-01_task-rest", tr_s=tr_s, metadata=sidecar)


def image(header_s: float | None) -> SimpleNamespace:
    return SimpleNamespace(tr_header_s=header_s, kind="NIfTI")


def test_the_sidecar_leads() -> None:
    assert repetition_time(scan(2.0), image(2.0), override_s=None) == (2.0, "sidecar")


def test_the_header_serves_where_no_sidecar_is() -> None:
    assert repetition_time(scan(None), image(0.8), override_s=None) == (0.8, "NIfTI header")


def test_a_small_difference_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert repetition_time(scan(2.0), image(2.005), override_s=None) == (2.0, "sidecar")
    assert "2.005" in caplog.text


def test_a_contradiction_names_both_numbers_and_the_way_out() -> None:
    with pytest.raises(ScanError, match=r"2 s in the sidecar but 1 s.*--tr"):
        repetition_time(scan(2.0), image(1.0), override_s=None)


@pytest.mark.parametrize(
    ("tr_s", "header_s", "override_s", "message"),
    [
        (2000.0, None, None, "Milliseconds"),
        (2000.0, 2000.0, None, "Milliseconds"),
        (None, 2000.0, None, "Milliseconds"),
        (2.0, 2.0, 2000.0, "Milliseconds"),
        (2.0, 2000.0, None, "2 s in the sidecar but 2000 s"),
    ],
)
def test_milliseconds_are_not_guessed(
    tr_s: float | None, header_s: float | None, override_s: float | None, message: str
) -> None:
    with pytest.raises(ScanError, match=message):
        repetition_time(scan(tr_s), image(header_s), override_s=override_s)


def test_the_users_word_settles_a_contradiction() -> None:
    assert repetition_time(scan(2.0), image(1.0), override_s=2.2) == (2.2, "--tr")


def test_no_repetition_time_anywhere_is_an_error() -> None:
    with pytest.raises(ScanError, match="--tr SECONDS"):
        repetition_time(scan(None), image(None), override_s=None)


def test_unevenly_spaced_volumes_are_refused_even_with_tr_given() -> None:
    with pytest.raises(ScanError, match="VolumeTiming"):
        repetition_time(scan(2.0, VolumeTiming=[0, 3, 9]), image(2.0), override_s=2.0)


def test_start_time_is_the_sidecars_and_zero_without_it() -> None:
    assert start_time(scan(2.0, StartTime=0.975), tr_s=2.0) == 0.975
    assert start_time(scan(2.0), tr_s=2.0) == 0.0


@pytest.mark.parametrize("value", [-0.1, 2.5, "1.0", None, True, float("nan")])
def test_a_start_time_outside_a_volume_is_refused(value: object) -> None:
    with pytest.raises(ScanError, match="StartTime"):
        start_time(scan(2.0, StartTime=value), tr_s=2.0)
