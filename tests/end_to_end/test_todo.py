"""`semantoks todo`, and the recipe of docs/scale.md that hands its lines to GNU parallel."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import builders
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.app import main
from bids_app.survey import Survey, participant_of

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def todo(atlas: Path, checkpoint: Path) -> Callable[..., Result]:
    def call(bids: Path, out: Path, *words: object) -> Result:
        extra = ["--atlas", atlas, "--checkpoint", checkpoint]
        return CliRunner().invoke(main, ["todo", *map(str, [bids, out, *extra, *words])])

    return call


def labels(answer: Result) -> list[str]:
    assert answer.exit_code == 0, answer.output
    return [line.split("\t")[0] for line in answer.stdout.splitlines()]


def test_who_has_scans_left_is_told_with_time_and_memory(tmp_path, semantoks, todo) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02", "03"))
    out = tmp_path / "out"
    answer = todo(data.root, out)
    assert labels(answer) == ["01", "02", "03"]
    for line in answer.stdout.splitlines():
        _, seconds, mb = line.split("\t")
        assert 5 <= int(seconds) < 60
        assert 500 <= int(mb) < 2000
    assert "3 of 3 participants have scans to do" in answer.stderr
    assert not out.exists()
    table = data.scans[1].confounds.read_bytes()
    data.scans[1].confounds.unlink()
    assert semantoks(data.root, out).exit_code == 1
    data.scans[1].confounds.write_bytes(table)
    assert labels(todo(data.root, out)) == ["02"]
    assert labels(todo(data.root, out, "--high-pass", "none")) == ["01", "02", "03"]
    assert labels(todo(data.root, out, "--overwrite", "--participant-label", "01", "03")) == [
        "01",
        "03",
    ]
    assert semantoks(data.root, out).exit_code == 0
    assert todo(data.root, out).stdout == ""


def test_who_has_no_scan_is_told_and_options_of_other_apps_are_taken(tmp_path, todo) -> None:
    data = builders.make_dataset(tmp_path / "in")
    (data.root / "sub-02/anat").mkdir(parents=True)
    answer = todo(data.root, tmp_path / "out", "--skip-bids-validation", "--work-dir", tmp_path)
    assert labels(answer) == ["01"]
    assert "sub-02: no scan to process: no BOLD file" in answer.stderr
    assert "1 of 1 participant has scans to do" in answer.stderr


def test_a_folder_that_is_missing_is_no_matter_of_lists(tmp_path) -> None:
    for words, said in (([], False), (["--participant-label", "01", "02"], True)):
        answer = CliRunner().invoke(main, ["todo", str(tmp_path), *words])
        assert answer.exit_code == 2
        assert ("go after the positionals" in answer.stderr) == said


def test_more_cpus_take_less_time_and_more_memory_up_to_the_number_of_scans() -> None:
    one = participant_of("01", [(300 << 20, 180.0), (600 << 20, 200.0)])
    found = Survey(
        n_participants=2, n_scans=3, to_do=(one,), process_mb=380.0, space=None, atlas=None
    )
    told = [[int(word) for word in next(found.lines(n)).split("\t")[1:]] for n in (1, 2, 8)]
    assert told[0][0] > told[1][0]
    assert told[0][1] < told[1][1]
    assert told[1] == told[2]


def test_what_cannot_be_done_is_refused_as_by_the_job_itself(tmp_path, todo) -> None:
    data = builders.make_dataset(tmp_path / "in")
    assert todo(data.root, tmp_path / "out", "--participant-label", "nobody").exit_code == 2
    assert todo(tmp_path, tmp_path / "out").exit_code == 16
    assert todo(data.root, tmp_path / "out", "--task-id", "nback").exit_code == 18
    absent = todo(data.root, tmp_path / "out", "--atlas", tmp_path / "no")
    assert absent.exit_code == 78
    assert "no such folder. In a container" in absent.stderr
    assert todo(data.root, tmp_path / "out", "--reports-only").exit_code == 2


def recipe(beginning: str) -> str:
    """Return the fenced block of docs/scale.md that begins so."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/scale.md").read_text(), re.DOTALL)
    (found,) = (block for block in blocks if block.startswith(beginning))
    return found


@pytest.fixture
def shell(tmp_path, atlas, checkpoint) -> Callable[[str, Path, Path], None]:
    """Run a recipe with paths of ours; `semantoks` is this one, with a small encoder."""
    program = tmp_path / "bin/semantoks"
    program.parent.mkdir()
    extra = shlex.join(["--checkpoint", str(checkpoint)])
    program.write_text(
        f'#!/bin/bash\nfor word; do [ $word = group ] && exec {sys.executable} -m bids_app "$@"\n'
        f'done\nexec {sys.executable} -m bids_app "$@" {extra}\n'
    )
    program.chmod(0o755)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/atlas").symlink_to(atlas)

    def run(text: str, study: Path, results: Path) -> None:
        text = text.replace("/data/fmriprep", shlex.quote(str(study)))
        text = text.replace("/data/embeddings", shlex.quote(str(results)))
        path = f"{program.parent}:{os.environ['PATH']}"
        more = {"PATH": path, "SEMANTOKS_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        answer = subprocess.run(
            ["bash", "-c", text],
            cwd=tmp_path,
            env=os.environ | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr

    return run


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_the_recipe_for_gnu_parallel_embeds_all_and_makes_the_table(tmp_path, shell) -> None:
    data = builders.make_dataset(tmp_path / "the study", subjects=("01", "02"))
    results = tmp_path / "the results"
    block = recipe("study=").replace("--memfree 2G ", "").replace("--jobs 8", "--jobs 1")
    shell(block, data.root, results)
    assert len((tmp_path / "todo.tsv").read_text().splitlines()) == 2
    assert len((tmp_path / "jobs.tsv").read_text().splitlines()) == 3
    lines = (results / "group_status.tsv").read_text().splitlines()
    assert [line.count("\tembedded\t") for line in lines[1:]] == [1, 1]
    shell(block, data.root, results)
    assert (tmp_path / "todo.tsv").read_text() == ""


def test_the_task_of_an_array_takes_its_own_line(tmp_path, shell) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    results = tmp_path / "out"
    (tmp_path / "todo.tsv").write_text("01\t9\t900\n02\t9\t900\n")
    for name in ("PBS_ARRAY_INDEX", "SGE_TASK_ID", "LSB_JOBINDEX"):
        shell(f"export program=semantoks {name}=2\n{recipe('#!/bin/bash')}", data.root, results)
        assert [path.name for path in sorted(results.glob("sub-*/"))] == ["sub-02"]


def test_the_lines_that_submit_ask_for_the_most_that_one_needs(tmp_path, shell) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"))
    for name in ("qsub", "bsub"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/{name}\n')
        (tmp_path / "bin" / name).chmod(0o755)
    shell(recipe("semantoks todo"), data.root, tmp_path / "out")
    mb = max(int(line.split()[2]) for line in (tmp_path / "todo.tsv").read_text().splitlines())
    sge, _, pbs, _ = (tmp_path / "qsub").read_text().splitlines()
    assert f"-t 1-2 -l mem_free={mb}M,h_rt=660 task.sh" in sge
    assert f"-J 1-2 -l select=1:ncpus=1:mem={mb}mb -l walltime=660 task.sh" in pbs
    assert f"-M {mb}MB -W 11 " in (tmp_path / "bsub").read_text()
