"""``--config-file``: what it may hold, what comes first, and the one that is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
import pytest

from bids_app.cli.app import main, resolve_options
from model.cli.program import config_text
from model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from bids_app.options import RunOptions


def parse(*words: object) -> click.Context:
    return main.make_context("semantoks", ["in", "out", "participant", *map(str, words)])


def resolved(*words: object) -> RunOptions:
    return resolve_options(parse(*words).params)


@pytest.fixture
def config(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def test_the_command_line_comes_before_the_file_and_the_file_before_defaults(config) -> None:
    path = config('high-pass = 0.02\nlow_pass = "none"\ntask-id = ["rest", "movie"]\n')
    options = resolved("--config-file", path, "--high-pass", 0.03)
    assert (options.signal.high_pass_hz, options.signal.low_pass_hz) == (0.03, None)
    assert options.selection.task_ids == ("rest", "movie")
    assert options.signal.min_coverage == 0.5
    assert resolved("--task-id", "nback", "--config-file", path).selection.task_ids == ("nback",)


def test_further_spellings_single_words_and_zero_are_taken(config) -> None:
    options = resolved("--config-file", config('task = "rest"\ndummy-scans = 0\nforce = true\n'))
    assert options.selection.task_ids == ("rest",)
    assert options.signal.dummy_scans == 0
    assert options.overwrite


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hig-pass = 0.1", "unknown key hig-pass.*high-pass"),
        ("[signal]\ntr = 2", "unknown key signal"),
        ("overwrite = 1", "overwrite: expected true or false, found a whole number"),
        ("tr = true", "tr: expected text or a finite number, found true"),
        ("n-cpus = inf", "n-cpus: expected text or a finite number, found inf"),
        ("tr = [2]", "tr: expected one value, found a list"),
        ("tr = 1979-05-27", "tr: expected text or a finite number, found date"),
        ("task-id = [{a = 1}]", "task-id: expected text or a finite number, found an object"),
        ("tr = ", "not readable as TOML"),
    ],
)
def test_a_wrong_file_is_one_clear_error(config, text, message) -> None:
    with pytest.raises(ConfigError, match=rf"config\.toml: {message}"):
        parse("--config-file", config(text))


def test_a_value_of_the_file_is_checked_as_one_of_the_command_line(config) -> None:
    with pytest.raises(click.BadParameter, match="'T1w' is not one of"):
        parse("--config-file", config('space = "T1w"'))


def test_the_resolved_options_given_back_do_the_same(config, tmp_path: Path) -> None:
    strategy = tmp_path / 'my "own".json'
    strategy.write_text('{"motion": "basic"}')
    words = (
        "--participant-label", "01", "sub-02", "-t", "rest", "--run-label", "1", "--space", "fsLR",
        "--denoise-strategy", strategy, "--fd-threshold", "none", "--high-pass", "none",
        "--no-despike", "--dummy-scans", 0, "--tr", 0.72, "--normalization", "zscore",
        "--n-cpus", 3, "--mem", "1.5G", "--no-reports", "--overwrite", "--batch-size", 4,
    )  # fmt: skip
    context = parse(*words)
    path = config(config_text(context))
    options = resolve_options(context.params)
    again = resolve_options(parse("--config-file", path).params)
    assert again == options
    assert options != replace(options, reports="with")
    assert config_text(parse("--config-file", path)) == path.read_text()
    assert (options.memory_mb, options.reports, options.signal.despike) == (1536, "none", False)


def test_the_label_of_a_folder_s_atlas_is_written_and_taken(tmp_path) -> None:
    from bids_app.cli.series import main as series

    context = series.make_context(
        "series", [str(tmp_path), "out", "--atlas-label", "Semantoks457"]
    )
    file = tmp_path / "config.toml"
    file.write_text(config_text(context))
    given = series.make_context("series", [str(tmp_path), "out", "--config-file", str(file)])
    assert given.params["atlas_label"] == "Semantoks457"
