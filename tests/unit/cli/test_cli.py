from __future__ import annotations

import click
import pytest
from click.testing import CliRunner, Result

from bids_app import __version__
from bids_app.cli.app import main, resolve_options
from bids_app.errors import OptionsError
from bids_app.workers.resources import available_cpus


def parse(*words: str) -> dict:
    return main.make_context("semantoks", ["bids", "out", "participant", *words]).params


def invoke(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


@pytest.mark.parametrize(
    "words",
    [
        ("--participant-label", "01", "sub-02"),
        ("--participant-label", "01", "--participant-label", "sub-02"),
        ("--participant_label", "01", "sub-02", "--n-cpus", "1"),
    ],
)
def test_lists_are_taken_in_both_spellings(words: tuple[str, ...]) -> None:
    assert parse(*words)["participant_label"] == ("01", "sub-02")


def test_a_list_ends_at_the_next_option() -> None:
    params = parse("--task-id", "rest", "nback", "--space", "MNI152NLin6Asym", "-t", "movie")
    assert params["task_id"] == ("rest", "nback", "movie")
    assert params["space"] == "MNI152NLin6Asym"


def test_a_single_value_option_does_not_swallow_words() -> None:
    with pytest.raises(click.UsageError, match="unexpected extra argument"):
        parse("--space", "auto", "stray")


def test_cutoffs_take_a_frequency_or_none() -> None:
    signal = resolve_options(parse("--high-pass", "none", "--low-pass", "0.08")).signal
    assert signal.high_pass_hz is None
    assert signal.low_pass_hz == 0.08
    with pytest.raises(OptionsError, match="positive frequency"):
        resolve_options(parse("--high-pass", "-1"))


def test_usage_errors_exit_with_2_and_an_unknown_level_with_17(tmp_path) -> None:
    assert invoke(str(tmp_path), str(tmp_path / "o"), "participant", "--nonsense").exit_code == 2
    assert invoke(str(tmp_path), str(tmp_path / "o"), "session").exit_code == 17


def test_crossed_band_edges_are_a_usage_error(tmp_path) -> None:
    words = [str(tmp_path), str(tmp_path / "o"), "participant", "--high-pass", "0.2"]
    answer = invoke(*words)
    assert answer.exit_code == 2
    assert "must lie below" in answer.output


def test_version_names_the_program() -> None:
    assert invoke("--version").output == f"semantoks {__version__}\n"


def test_every_option_has_a_help_text() -> None:
    silent = [p.name for p in main.params if isinstance(p, click.Option) and not p.help]
    assert silent == []


def test_the_schedulers_grant_limits_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert available_cpus() == 1
