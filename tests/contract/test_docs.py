"""What the documents name exists: options, files, headings, extras, versions."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from bids_app import __version__
from bids_app.atlas.setup.origins import all_sources
from bids_app.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OTHERS = {
    "fMRIPrep": {"--anat-only", "--cifti-output", "--echo-idx", "--level", "--output-spaces"},
    "xcp_d": {"--output-type"},
    "sbatch": {"--dependency"},
    "GNU parallel": {"--sshlogin"},
    "docker": {"--network", "--read-only"},
    "apptainer": {"--cleanenv", "--containall", "--nv"},
    "nipoppy": {"--hpc"},
    "bosh": {"--bids"},
    "click": {"--help"},
    "pip, uv": {"--no-index", "--find-links", "--compile-bytecode"},
    "snakemake": {"--software-deployment-method"},
    "tools/check.sh": {"--fast"},
    "tools/gpu_train.sh": {"--tiny"},
}
"""Options of other programs that stand in the text."""

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def commands(command: click.Command, name: str) -> dict[str, click.Command]:
    found = {name: command}
    if isinstance(command, click.Group):
        for key, child in command.commands.items():
            found |= commands(child, f"{name} {key}")
    return found


def options(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option)]


@pytest.fixture(scope="module")
def programs() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, entry in PROJECT["scripts"].items():
        module, _, function = entry.partition(":")
        found |= commands(getattr(importlib.import_module(module), function), name)
    for name in COMMANDS:
        command = importlib.import_module(f"bids_app.cli.{name}").main
        found |= commands(command, f"semantoks {name}")
    return found


def command_lines(document: Path) -> list[str]:
    """Lines of code, fenced or indented, that begin with one of our commands."""
    prose_and_fenced = document.read_text().split("```")
    fenced = re.findall(
        r"^ *(semantoks(?:-model)? .*)$", "\n".join(prose_and_fenced[1::2]), re.MULTILINE
    )
    indented = re.findall(
        r"^ {4}(semantoks(?:-model)? .*)$", "".join(prose_and_fenced[::2]), re.MULTILINE
    )
    return fenced + indented


@each_document
def test_command_lines_have_known_and_all_required_options(document, programs) -> None:
    for line in command_lines(document):
        words = [w for w in shlex.split(line, comments=True) if " " not in w]
        check_words(words, programs, line)
        if "--" in words:  # a call of semantoks that is passed on
            check_words(["semantoks", *words[words.index("--") + 1 :]], programs, line)


def check_words(words: list[str], programs: dict[str, click.Command], line: str) -> None:
    words = words[: words.index("--")] if "--" in words else words
    command = next(programs[name] for n in (3, 2, 1) if (name := " ".join(words[:n])) in programs)
    used = {flag for word in words for flag in re.findall(r"--[a-z][a-z0-9-]*", word)}
    assert used <= {flag for option in options(command) for flag in option.opts}, line
    missing = [o.name for o in options(command) if o.required and not used & set(o.opts)]
    assert not missing, line


@each_document
def test_options_in_the_text_exist(document, programs) -> None:
    if document.name == "containers.md":
        pytest.skip("options of docker and apptainer")
    ours = {f for c in programs.values() for o in options(c) for f in o.opts + o.secondary_opts}
    benchmarks = "".join(path.read_text() for path in ROOT.glob("benchmarks/*.py"))
    known = ours.union(*OTHERS.values(), re.findall(r"--[a-z][a-z0-9-]*", benchmarks))
    prose = "".join(document.read_text().split("```")[::2])
    quoted = " ".join(re.findall(r"`([^`\n]+)`", prose))
    assert set(re.findall(r"(?<!\S)--[a-z][\w-]*", quoted)) <= known


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@each_document
def test_links_between_documents_resolve(document) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text()):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_document
def test_files_of_the_repository_that_are_named_exist(document) -> None:
    named = re.findall(
        r"(?<![\w./-])((?:docs|tests|model|bids_app|benchmarks|tools)/[\w/-]+\.[a-z]+)",
        document.read_text(),
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_extras_that_are_named_exist() -> None:
    named = {
        extra
        for document in DOCUMENTS
        for extra in re.findall(r"(?:semantoks|'\.)\[([a-z0-9]+)\]", document.read_text())
    }
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_model_card_has_the_version_of_the_weights() -> None:
    card = json.loads((ROOT / "model/data/checkpoint/card.json").read_text())
    title = (ROOT / "docs/model_card.md").read_text().splitlines()[0]
    assert title == f"# Model card: {card['name']} {card['version']}"


def test_every_place_that_names_the_version_names_that_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/version.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("version", ["12.0.3", "0.2.0.dev0", "1.0.0rc1"])
def test_a_version_that_is_set_stands_in_every_place(version, tmp_path) -> None:
    for name in ("model/__init__.py", "CITATION.cff", "descriptor.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("docs", "examples", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.png"))
    for words in ([version], []):  # set, compare
        command = [sys.executable, tmp_path / "tools/version.py", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    yaml = (tmp_path / "examples/runners/babs/semantoks.yaml").read_text()
    assert f'semantoks: "{version.replace(".", "-")}"' in yaml


def test_the_newest_release_of_the_changelog_is_the_version_and_the_citation_has_its_day() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    version, _, day = released[0].partition(" - ")
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\ndate-released: {day}\n" in citation
    assert headings[0] in ("Unreleased", f"{__version__} - {day}")
    # After a release the version is that of the next one, in development.
    assert version == __version__ or (headings[0] == "Unreleased" and "dev" in __version__)


def test_the_table_of_addresses_is_that_of_the_code() -> None:
    table = re.findall(
        r"^\| `(\S+)` \| `(\w{64})` \| <(\S+)> \|$", (ROOT / "docs/atlas.md").read_text(), re.M
    )
    pinned = [(s.path.rpartition("/")[2], s.sha256, s.url) for s in all_sources()]
    assert table == pinned


def test_the_papers_numbers_are_those_of_its_own_page() -> None:
    """Two pages name them; a slip of the pen would be a claim about other people's work."""
    page = (ROOT / "docs/howto/published_weights.md").read_text()
    paper = (ROOT / "docs/paper.md").read_text()
    for number in ("52.72", "50.68"):
        assert number in page
        assert number in paper
