"""Output folders of xcp_d and giga_connectome, with the names and columns they have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bids_app.cli.app import main as semantoks_main
from bids_app.cli.series import main
from model.networks import parcel_names

if TYPE_CHECKING:
    from pathlib import Path

CORTEX = [name.removeprefix("7Networks_") for name in parcel_names()[:400]]
# Fifty-six more in that atlas, of other subcortical and cerebellar atlases.
OTHERS = [f"LH-Region_{i}" for i in range(46)] + [f"Cerebellar_Region{i}" for i in range(1, 11)]
SPACE = "space-MNI152NLin2009cAsym"


def describe(root: Path, name: str) -> None:
    description = {"Name": name, "BIDSVersion": "1.10.0", "GeneratedBy": [{"Name": name}]}
    (root / "dataset_description.json").write_text(json.dumps(description))


@pytest.fixture
def xcp_d(tmp_path) -> Path:
    """Two runs, of which every one has series of two atlases."""
    root, rng = tmp_path / "xcp_d", np.random.default_rng(0)
    for sub in ("01", "02"):
        func = root / f"sub-{sub}" / "ses-a" / "func"
        func.mkdir(parents=True)
        stem = f"sub-{sub}_ses-a_task-rest_{SPACE}"
        for seg, names in (("4S456Parcels", CORTEX + OTHERS), ("4S156Parcels", CORTEX[:100])):
            values = rng.normal(size=(120, len(names)))
            table = pd.DataFrame(values, columns=names)
            path = func / f"{stem}_seg-{seg}_stat-mean_timeseries.tsv"
            table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    describe(root, "xcp_d")
    return root


@pytest.fixture
def giga(tmp_path) -> Path:
    root = tmp_path / "giga"
    func = root / "sub-1" / "func"
    func.mkdir(parents=True)
    stem = "sub-1_task-rest_seg-Schaefer2018400Parcels7Networks_desc-denoiseSimple"
    values = pd.DataFrame(np.random.default_rng(0).normal(size=(120, 400)))
    values.to_csv(func / f"{stem}_timeseries.tsv", sep="\t", index=False)
    describe(root, "giga_connectome")
    return root


@pytest.fixture
def embed(checkpoint):
    def call(*words: object) -> Result:
        arguments = [*map(str, words), "--tr", "2", "--checkpoint", str(checkpoint)]
        return CliRunner().invoke(main, [*arguments, "--n-cpus", "1"])

    return call


def test_a_folder_of_xcp_d_is_embedded_by_one_of_its_atlases(xcp_d, tmp_path, embed) -> None:
    chosen = ("--atlas-label", "4S456Parcels", "--ignore-other-columns")
    answer = embed(xcp_d, tmp_path / "out", *chosen)
    assert answer.exit_code == 0, answer.output
    tables = sorted((tmp_path / "out").rglob("*desc-scan_embedding.tsv"))
    assert [path.name.split("_atlas")[0] for path in tables] == [
        f"sub-{sub}_ses-a_task-rest_{SPACE}" for sub in ("01", "02")
    ]
    (coverage, _) = sorted((tmp_path / "out").rglob("*coverage.tsv"))
    assert (pd.read_csv(coverage, sep="\t")["status"] == "used").sum() == 400


def test_each_participant_gets_a_report_of_what_the_series_had(xcp_d, tmp_path, embed) -> None:
    chosen = ("--atlas-label", "4S456Parcels", "--ignore-other-columns")
    assert embed(xcp_d, tmp_path / "out", *chosen).exit_code == 0
    page = (tmp_path / "out" / "sub-01.html").read_text()
    for text in (
        "a parcel series of 120 frames that others made",
        "57 missing: no column in the input",
        "Of the 457 parcels of the model 400 were given",
        "Model input",
        "LH-Region_0, ",
    ):
        assert text in page
    scans = page.split('<section id="Numbers">')[0]
    assert "Before and after denoising" not in scans
    assert "brain mask" not in scans


def test_a_report_that_is_gone_is_written_again_from_the_tables(xcp_d, tmp_path, embed) -> None:
    chosen = ("--atlas-label", "4S456Parcels", "--ignore-other-columns")
    embed(xcp_d, tmp_path / "out", *chosen)
    page = tmp_path / "out" / "sub-02.html"
    before = page.read_bytes()
    page.unlink()
    assert embed(xcp_d, tmp_path / "out", *chosen).exit_code == 0
    assert page.read_bytes() == before


def test_columns_of_other_atlases_are_left_out_on_request_only(xcp_d, tmp_path, embed) -> None:
    answer = embed(xcp_d, tmp_path / "out", "--atlas-label", "4S456Parcels")
    assert answer.exit_code == 1
    assert "--ignore-other-columns" in answer.output


def test_a_folder_with_several_atlases_needs_a_choice(xcp_d, tmp_path, embed) -> None:
    answer = embed(xcp_d, tmp_path / "out")
    assert answer.exit_code == 2
    assert "4S156Parcels (2 series), 4S456Parcels (2 series)" in answer.output
    answer = embed(xcp_d, tmp_path / "out", "--atlas-label", "Glasser")
    assert answer.exit_code == 2
    assert "no series of atlas Glasser" in answer.output
    assert not (tmp_path / "out").exists()


def test_a_folder_of_giga_connectome_needs_the_order_declared(giga, tmp_path, embed) -> None:
    assert embed(giga, tmp_path / "refused").exit_code == 1
    answer = embed(giga, tmp_path / "out", "--order", "schaefer400x7")
    assert answer.exit_code == 0, answer.output
    assert len(list((tmp_path / "out").rglob("*desc-scan_embedding.tsv"))) == 1


def test_a_folder_without_series_is_refused(tmp_path, embed) -> None:
    (tmp_path / "empty").mkdir()
    answer = embed(tmp_path / "empty", tmp_path / "out")
    assert answer.exit_code == 16
    assert "_timeseries.tsv, found none" in answer.output


@pytest.mark.parametrize("maker", ["xcp_d", "giga"])
def test_the_main_command_points_to_the_one_for_series(maker, request, tmp_path) -> None:
    root = request.getfixturevalue(maker)
    arguments = [str(root), str(tmp_path / "out"), "participant"]
    answer = CliRunner().invoke(semantoks_main, arguments)
    assert answer.exit_code == 16
    assert "semantoks series FOLDER OUTPUT_DIR" in answer.output
