"""What examples/runners says of the app is what the app takes and writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from bids_app import __version__
from bids_app.cli.app import main
from bids_app.inputs.entities import parse_name
from bids_app.outputs.paths import output_path
from model.cohort import names

ROOT = Path(__file__).resolve().parents[2]
RUNNERS = ROOT / "examples/runners"
SCRIPTS = ROOT / "tools/platforms"
PAGE = ROOT / "docs/howto/runners.md"


@pytest.fixture(scope="module")
def flags() -> set[str]:
    options = [option for option in main.params if isinstance(option, click.Option)]
    return {flag for option in options for flag in option.opts}


@pytest.mark.parametrize(
    ("file", "level"),
    [
        ("boutiques/participant.json", "participant"),
        ("boutiques/group.json", "group"),
        ("nipoppy/invocation.json", "participant"),
        ("nipoppy/invocation_group.json", "group"),
    ],
)
def test_invocations_name_inputs_of_the_descriptor(file, level) -> None:
    descriptor = json.loads((ROOT / "descriptor.json").read_text())
    invocation = json.loads((RUNNERS / file).read_text())
    assert invocation.keys() <= {entry["id"] for entry in descriptor["inputs"]}
    assert invocation["analysis_level"] == level


def test_babs_gives_options_that_exist_and_the_version(flags) -> None:
    text = (RUNNERS / "babs/semantoks.yaml").read_text()
    given = set(re.findall(r"^ {4}(?:# )?(--[\w-]+|\$\w+_FLAG): ", text, re.MULTILINE))
    named = set(re.findall(r'_FLAG: "(--[\w-]+)"', text))
    assert named == {"--participant-label", "--session-label"}
    assert {word for word in given if word.startswith("--")} | named <= flags
    assert f'semantoks: "{__version__.replace(".", "-")}"' in text


def test_nipoppy_has_the_descriptor_and_the_version() -> None:
    """Nipoppy takes a pipeline only where all of its files lie in one folder."""
    ours, copy = ROOT / "descriptor.json", RUNNERS / "nipoppy/descriptor.json"
    assert copy.read_bytes() == ours.read_bytes(), f"cp {ours} {copy}"
    config = json.loads((RUNNERS / "nipoppy/config.json").read_text())
    assert config["VERSION"] == __version__


def test_nipoppy_tracks_a_file_that_a_session_has() -> None:
    tracker = json.loads((RUNNERS / "nipoppy/tracker.json").read_text())
    name = "sub-01_ses-2_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    parsed = parse_name(name)
    assert parsed is not None
    written = output_path(Path(), parsed[0], f"{names.SCAN}.tsv")
    (pattern,) = (
        path.replace("[[NIPOPPY_BIDS_PARTICIPANT_ID]]", "sub-01").replace(
            "[[NIPOPPY_BIDS_SESSION_ID]]", "ses-2"
        )
        for path in tracker["PATHS"]
    )
    assert written.match(pattern)
    assert pattern.startswith(
        tracker["PARTICIPANT_SESSION_DIR"]
        .replace("[[NIPOPPY_BIDS_PARTICIPANT_ID]]", "sub-01")
        .replace("[[NIPOPPY_BIDS_SESSION_ID]]", "ses-2")
    )


@pytest.mark.parametrize(
    ("file", "lines"),
    [("Snakefile", r'^ *"(?:semantoks .*|--.*)$'), ("config.yaml", r"^\w+_options: .*$")],
)
def test_snakemake_gives_options_that_exist(file, lines, flags) -> None:
    text = "\n".join(re.findall(lines, (RUNNERS / "snakemake" / file).read_text(), re.MULTILINE))
    given = set(re.findall(r"--[\w-]+", text))
    assert given
    assert given <= flags


def test_snakemake_settings_are_those_of_the_snakefile() -> None:
    folder = RUNNERS / "snakemake"
    read = set(re.findall(r'config(?:\.get\(|\[)"(\w+)"', (folder / "Snakefile").read_text()))
    told = set(re.findall(r"^(?:# )?(\w+): ", (folder / "config.yaml").read_text(), re.MULTILINE))
    assert told == read


def test_the_page_tells_the_versions_that_the_scripts_ran() -> None:
    scripts = "".join(path.read_text() for path in SCRIPTS.glob("*.sh"))
    named = re.findall(r"^offers \S+(.*)", scripts, re.MULTILINE)
    versions = re.findall(r"([\w-]+)==([\d.]+)", " ".join(named))
    page = PAGE.read_text()
    assert versions
    assert [
        f"{name} {version}" for name, version in versions if f"{name} {version}" not in page
    ] == []
