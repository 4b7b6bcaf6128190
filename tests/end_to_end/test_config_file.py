"""The options that an invocation writes down do the same when they are given back."""

from __future__ import annotations

import builders
from outputs import contents


def test_the_options_in_the_log_folder_given_back_do_the_same(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    words = ("--participant-label", "02", "--low-pass", "none", "--fd-threshold", "0.2",
             "--no-reports")  # fmt: skip
    answer = semantoks(data.root, tmp_path / "one", "participant", *words)
    assert answer.exit_code == 0, answer.output
    (config,) = (tmp_path / "one/logs").glob("*/config.toml")
    again = semantoks(data.root, tmp_path / "two", "participant", "--config-file", config)
    assert again.exit_code == 0, again.output
    first = contents(tmp_path / "one")
    assert any(name.startswith("sub-02") for name in first)
    assert not any(name.endswith(".html") or name.startswith("sub-01") for name in first)
    assert contents(tmp_path / "two") == first
    (copied,) = (tmp_path / "two/logs").glob("*/config.toml")
    assert copied.read_bytes() == config.read_bytes()
    other = semantoks(data.root, tmp_path / "three", "participant", *words[:-3], "--no-reports")
    assert other.exit_code == 0, other.output
    assert contents(tmp_path / "three") != first  # the threshold matters
