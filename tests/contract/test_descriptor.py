"""The Boutiques descriptor says what the command line does."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from bids_app import __version__
from bids_app.cli.app import main
from model.cli.program import EXIT_CODES

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTOR = ROOT / "descriptor.json"
POSITIONALS = {"bids_dir", "output_dir_name", "participant_level_analysis_dir", "analysis_level"}


@pytest.fixture(scope="module")
def descriptor() -> dict:
    return json.loads(DESCRIPTOR.read_text())


@pytest.fixture(scope="module")
def options() -> dict[str, click.Option]:
    return {
        flag: parameter
        for parameter in main.params
        if isinstance(parameter, click.Option)
        for flag in parameter.opts
    }


def test_every_flag_of_the_command_line_is_described(descriptor, options) -> None:
    described = {entry.get("command-line-flag") for entry in descriptor["inputs"]}
    undescribed = {
        option.opts[0]
        for option in options.values()
        if not described & set(option.opts) and option.name != "version"
    }
    assert undescribed == set()


def test_described_flags_exist_with_the_same_shape(descriptor, options) -> None:
    for entry in descriptor["inputs"]:
        if entry["id"] in POSITIONALS:
            continue
        option = options[entry["command-line-flag"]]
        assert entry.get("list", False) == option.multiple, entry["id"]
        assert (entry["type"] == "Flag") == (option.is_flag or option.count), entry["id"]
        if isinstance(option.type, click.Choice):
            assert entry["value-choices"] == list(option.type.choices), entry["id"]


def test_no_default_is_written_on_every_line(descriptor) -> None:
    """Boutiques writes defaults out, and each level refuses the options of the other."""
    assert [entry["id"] for entry in descriptor["inputs"] if "default-value" in entry] == []


def test_every_input_stands_in_the_command_line_template(descriptor) -> None:
    template = descriptor["command-line"]
    assert all(entry["value-key"] in template for entry in descriptor["inputs"])


def test_version_is_the_package_version(descriptor) -> None:
    assert descriptor["tool-version"] == __version__


def test_exit_codes_of_the_descriptor_are_those_of_the_programs(descriptor) -> None:
    described = {entry["code"]: entry["description"] for entry in descriptor["error-codes"]}
    assert described == {c: text[0].upper() + text[1:] for c, text in EXIT_CODES.items() if c}


def test_a_rendered_invocation_is_understood_by_the_parser(tmp_path: Path) -> None:
    invocation = {
        "bids_dir": "/bids",
        "output_dir_name": "/out",
        "analysis_level": "participant",
        "participant_label": ["01", "02"],
        "space": "auto",
        "min_coverage": 0.25,
        "dry_run": True,
    }
    sample = tmp_path / "invocation.json"
    sample.write_text(json.dumps(invocation))
    bosh = Path(sys.executable).with_name("bosh")
    answer = subprocess.run(
        [bosh, "exec", "simulate", "-i", sample, DESCRIPTOR],
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(text for text in answer.stdout.splitlines() if "semantoks" in text)
    words = shlex.split(line.partition("semantoks ")[2])
    context = main.make_context("semantoks", words)
    assert context.params["participant_label"] == ("01", "02")
    assert context.params["min_coverage"] == 0.25
    assert context.params["dry_run"] is True
    assert str(context.params["output_dir"]) == "/out"
