"""What the app's command line makes of words: thresholds, memory, reports."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from bids_app.cli.app import main, resolve_options
from bids_app.errors import OptionsError
from bids_app.one_scan import Pipeline
from model.errors import ConfigError

if TYPE_CHECKING:
    from bids_app.options import RunOptions


def resolved(*words: str) -> RunOptions:
    context = main.make_context("semantoks", ["in", "out", "participant", *words])
    return resolve_options(context.params)


def configuration(*words: str) -> str:
    options = resolved(*words)
    pipeline = Pipeline(
        strategy=options.strategy,
        signal=options.signal,
        embedder=SimpleNamespace(card=SimpleNamespace(identity=lambda: {"weights": "0"})),
        atlas=None,
        check_inputs="time",
    )
    return pipeline.configuration(SimpleNamespace(space="fsLR", sha256="0" * 64))


def test_a_threshold_of_displacement_stands_in_place_of_the_strategys() -> None:
    own = resolved().strategy.fd_threshold_mm
    assert own is not None
    assert resolved("--fd-threshold", "0.2").strategy.fd_threshold_mm == 0.2
    assert resolved("--fd-threshold", "none").strategy.fd_threshold_mm is None
    assert resolved("--fd-threshold", "0").strategy.fd_threshold_mm is None
    assert configuration("--fd-threshold", str(own)) == configuration()
    hashes = {configuration(*words) for words in ((), ("--fd-threshold", "0.2"))}
    assert len(hashes | {configuration("--fd-threshold", "none")}) == 3


@pytest.mark.parametrize("words", ["-1", "nan", "far"])
def test_a_threshold_that_is_no_length_is_a_usage_error(words: str) -> None:
    with pytest.raises(OptionsError, match="--fd-threshold"):
        resolved("--fd-threshold", words)


@pytest.mark.parametrize(
    ("words", "megabytes"),
    [("8G", 8192), ("8GB", 8192), ("8000M", 8000), ("8000", 8000), ("0.5T", 524288)],
)
def test_memory_is_told_in_any_unit_by_both_names(words: str, megabytes: float) -> None:
    assert resolved("--mem", words).memory_mb == megabytes
    assert resolved("--mem-mb", words).memory_mb == megabytes


@pytest.mark.parametrize("words", ["0", "much", "8X", "-1"])
def test_memory_that_is_no_amount_is_a_usage_error(words: str) -> None:
    with pytest.raises(OptionsError, match="--mem"):
        resolved("--mem", words)


def test_reports_are_made_with_the_scans_or_alone_or_not() -> None:
    assert resolved().reports == "with"
    assert resolved("--reports-only").reports == "only"
    assert resolved("--no-reports").reports == "none"
    with pytest.raises(ConfigError, match="exclude one another"):
        resolved("--reports-only", "--no-reports")


def test_a_number_beyond_its_limits_is_told_by_its_flag() -> None:
    with pytest.raises(ConfigError, match="--tr nan"):
        resolved("--tr", "nan")


def test_an_unknown_strategy_ends_before_anything_is_looked_at() -> None:
    with pytest.raises(OptionsError, match="--denoise-strategy nonsense"):
        resolved("--denoise-strategy", "nonsense")
