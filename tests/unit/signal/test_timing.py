from __future__ import annotations

from types import SimpleNamespace

import pytest

from bids_app.errors import ScanError
from bids_app.inputs.scan import positive
from bids_app.signal.timing import repetition_time, start_time


def scan(tr: object, **sidecar: object) -> SimpleNamespace:
    return SimpleNamespace(
        name="sub-01_task-rest",
        tr_s=positive(tr),
        metadata={"RepetitionTime": tr} | sidecar,
    )


def image(header_s: float | None) -> SimpleNamespace:
    return SimpleNamespace(tr_header_s=header_s, kind="NIfTI")


def test_the_sidecar_leads() -> None:
    assert repetition_time(scan(2.0), image(2.0), override_s=None) == (2.0, "sidecar")


def test_the_header_serves_where_no_sidecar_is() -> None:
    assert repetition_time(scan(None), image(0.8), override_s=None) == (0.8, "NIfTI header")


def test_a_small_difference_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert repetition_time(scan(2.0), image(2.005), override_s=None) == (2.0, "sidecar")
    assert "2.005" in caplog.text


@pytest.mark.parametrize("header_s", [1.0, 2000.0, 0.002, 1998.0, 2e6])
def test_a_header_that_software_is_known_to_get_wrong_gives_way_with_a_warning(
    header_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    tr_s, source = repetition_time(scan(2.0), image(header_s), override_s=None)
    assert (tr_s, source) == (2.0, f"sidecar (NIfTI header: {header_s:g} s)")
    assert f"{header_s:g} s (header)" in caplog.text


@pytest.mark.parametrize("header_s", [3.0, 2.1, 0.5, 1.01, 200.0])
def test_any_other_contradiction_names_both_numbers_and_the_way_out(header_s: float) -> None:
    with pytest.raises(ScanError, match=rf"2 s in the sidecar but {header_s:g} s.*--tr"):
        repetition_time(scan(2.0), image(header_s), override_s=None)
    assert repetition_time(scan(2.0), image(header_s), override_s=2.0) == (2.0, "option")


@pytest.mark.parametrize("written", ["2.0", "2", [2.0], ["2.0"]])
def test_a_number_that_is_written_as_text_or_in_a_list_is_read_with_a_warning(
    written: object, caplog: pytest.LogCaptureFixture
) -> None:
    tr_s, source = repetition_time(scan(written), image(2.0), override_s=None)
    assert (tr_s, source) == (2.0, f"sidecar (written {written!r})")
    assert repr(written) in caplog.text


NO_TIMES = [
    "2 s", "2,0", "two", "", "nan", "1_0", "2" * 401, [], [2.0, 2.0], [[2.0]], {"value": 2.0},
    True, 0, -2.0, float("nan"), float("inf"), "0",
]  # fmt: skip


@pytest.mark.parametrize("written", NO_TIMES)
def test_what_is_no_number_of_seconds_fails_until_tr_is_given(written: object) -> None:
    with pytest.raises(ScanError, match=r"RepetitionTime in the sidecar is .*--tr"):
        repetition_time(scan(written), image(2.0), override_s=None)
    assert repetition_time(scan(written), image(2.0), override_s=2.0) == (2.0, "option")


@pytest.mark.parametrize(
    ("tr", "header_s", "message"),
    [
        (2000.0, None, "2000 s .sidecar.*Milliseconds"),
        (2000.0, 2000.0, "Milliseconds"),
        (2000.0, 2.0, "Milliseconds"),
        (1e308, 2.0, "Milliseconds"),
        (None, 2000.0, "Milliseconds"),
        (1e-300, 2.0, "1e-300 s .sidecar.; expected 0.1 to 20 s"),
    ],
)
def test_milliseconds_in_a_sidecar_are_not_guessed(
    tr: float | None, header_s: float | None, message: str
) -> None:
    with pytest.raises(ScanError, match=message):
        repetition_time(scan(tr), image(header_s), override_s=None)
    assert repetition_time(scan(tr), image(header_s), override_s=2.0)[0] == 2.0


def test_a_word_of_the_user_against_the_sidecar_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert repetition_time(scan(0.8), image(0.8), override_s=2.0) == (2.0, "option")
    assert "--tr 2 s overrides 0.8 s" in caplog.text


def test_the_users_word_settles_a_contradiction() -> None:
    assert repetition_time(scan(2.0), image(1.0), override_s=2.2) == (2.2, "option")


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
