"""Options that a level has no use for are refused, not ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from bids_app.cli.app import main
from bids_app.cli.slurm import option_words, without_options
from bids_app.group.options import GroupOptions
from model.cli.program import option_names

if TYPE_CHECKING:
    from pathlib import Path

    import click


def call(*words: object) -> click.testing.Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize(
    "words",
    [
        ("--participant-label", "01"),
        ("--task-id", "rest"),
        ("--space", "fsLR"),
        ("--high-pass", "0.02"),
        ("--denoise-strategy", "none"),
        ("--no-despike",),
        ("--tr", "2"),
        ("--checkpoint", "x"),
        ("--overwrite",),
        ("--reports-only",),
    ],
)
def test_the_group_level_refuses_what_is_of_the_participant_level(tmp_path, words) -> None:
    answer = call(tmp_path, tmp_path / "out", "group", *words)
    assert answer.exit_code == 2
    assert f"the group level takes no {words[0]}." in answer.stderr


def test_all_of_them_are_named_at_once(tmp_path: Path) -> None:
    words = ("group", "--tsv", "--low-pass", "none", "-v", "-t", "rest")
    answer = call(tmp_path, tmp_path / "out", *words)
    assert "takes no --task-id, --low-pass." in answer.stderr


def test_what_bids_apps_are_called_with_is_taken_at_the_group_level(tmp_path: Path) -> None:
    words = ("--n_cpus", 2, "--mem", "8G", "--omp-nthreads", 1, "-w", tmp_path, "-q", "--tsv")
    answer = call(tmp_path, tmp_path / "out", "group", *words)
    assert "takes no" not in answer.stderr  # ends for another reason: there is no output


def test_a_file_of_options_serves_both_levels(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('task-id = ["rest"]\nlow-pass = "none"\ntsv = true\n')
    for level in ("participant", "group"):
        answer = call(tmp_path, tmp_path / "out", level, "--config-file", file)
        assert "takes no" not in answer.stderr


def test_the_participant_level_refuses_what_is_of_the_group_level(tmp_path: Path) -> None:
    answer = call(tmp_path, tmp_path / "out", "participant", "--tsv")
    assert answer.exit_code == 2
    assert "the participant level takes no --tsv." in answer.stderr


def test_words_of_a_call_are_taken_apart_by_option() -> None:
    words = ["in", "out", "participant", "--low-pass", "none", "--participant_label", "1", "2",
             "--tr=2", "--tsv", "--dummy-scans", "0", "-t", "rest"]  # fmt: skip
    left = without_options(words, {"participant_label", "tsv", "dummy_scans", "tr"})
    assert left == ["in", "out", "participant", "--low-pass", "none", "-t", "rest"]
    context = main.make_context("semantoks", words)
    assert option_words(context, option_names(GroupOptions)) == ["--tsv"]
    assert option_words(context, {"tr", "overwrite"}) == ["--tr", "2.0"]
