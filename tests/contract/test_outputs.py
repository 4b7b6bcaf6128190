"""The output contract: golden listing, BIDS validator, other people's readers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import builders
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bids_app.cli.app import main
from model.cohort.names import EMBEDDING_COLUMN, IDENTIFIERS
from model.networks import parcel_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "outputs.md"
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "outputs.txt"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """Outputs of both levels over every entity a name may hold, a failure among them."""
    folder = tmp_path_factory.mktemp("contract")
    data = builders.make_dataset(
        folder / "in",
        subjects=("01", "02"),
        sessions=("pre", None),
        entities={"acq": "seq", "dir": "AP"},
        runs=("01",),
        res="2",
    )
    builders.blank_image(data.scans[-1])
    builders.make_checkpoint(folder / "weights")
    atlas = builders.make_atlas(folder / "atlas")
    words = ["--atlas", str(atlas), "--checkpoint", str(folder / "weights")]
    for level, extra in (("participant", words), ("group", ["--tsv"])):
        CliRunner().invoke(main, [str(data.root), str(folder / "out"), level, *extra])
    return folder / "out"


def files(out: Path, pattern: str) -> list[Path]:
    found = sorted(out.rglob(pattern))
    assert found
    return found


def test_the_listing_is_the_golden_one(out: Path) -> None:
    listing = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and path.parent.parent.name != "logs"
    )
    assert listing == GOLDEN.read_text().splitlines()


def test_the_bids_validator_reports_no_error(out: Path) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    answer = subprocess.run(
        [validator, "--format", "json", out], capture_output=True, text=True, check=False
    )
    issues = json.loads(answer.stdout)["issues"]["issues"]
    errors = [issue for issue in issues if issue["severity"] == "error"]
    assert errors == []
    assert answer.returncode == 0


def documented(file: str) -> set[str]:
    """Names in code type in the row of docs/outputs.md that is about a file."""
    (row,) = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{file}")]
    return {word for code in re.findall("`([^`]*)`", row) for word in code.split()}


@pytest.mark.parametrize(
    "ending", ["coverage", "outliers", "desc-scan_embedding", "desc-windows_embedding"]
)
def test_the_page_names_every_column_of_a_scans_tables_and_no_other(out, ending) -> None:
    said = documented(f"<src>_{ending}.tsv") - {f"<src>_{ending}.tsv"}
    for table in files(out, f"sub-*/**/*_{ending}.tsv"):
        columns = pd.read_csv(table, sep="\t", nrows=0).columns
        plain = {name for name in columns if not EMBEDDING_COLUMN.fullmatch(name)}
        assert plain == {word for word in said if re.fullmatch("[a-z_]+", word)}


def test_every_column_of_the_group_tables_is_described(out) -> None:
    for name in ("group_status.tsv", "group_desc-scan_embedding.tsv"):
        described = json.loads((out / name).with_suffix(".json").read_text())
        columns = pd.read_csv(out / name, sep="\t", nrows=0).columns
        known = {*IDENTIFIERS, *described, "reason", "source", "configuration_hash"}
        assert [c for c in columns if c not in known and not EMBEDDING_COLUMN.fullmatch(c)] == []


def test_every_table_has_a_json_beside_it_and_no_json_holds_null(out: Path) -> None:
    def nulls(value: object) -> bool:
        if isinstance(value, dict):
            return any(nulls(v) for v in value.values())
        return value is None

    for table in files(out, "sub-*/**/*.tsv"):
        assert table.with_suffix(".json").exists(), table
    for sidecar in files(out, "*.json"):
        if "logs" not in sidecar.parts:
            assert not nulls(json.loads(sidecar.read_text())), sidecar


def test_series_tables_have_the_457_parcels_by_name(out: Path) -> None:
    for table in files(out, "*_timeseries.tsv"):
        assert tuple(pd.read_csv(table, sep="\t", nrows=0).columns) == parcel_names()


def test_model_series_are_standardized(out: Path) -> None:
    for table in files(out, "*_desc-model_timeseries.tsv"):
        values = pd.read_csv(table, sep="\t", na_values="n/a")
        assert values.mean().abs().max() < 0.2
        assert values.std().between(0.8, 1.2).mean() > 0.95  # spikes make a few wider


def test_tokens_scan_and_windows_agree_with_one_another(out: Path) -> None:
    for path in files(out, "*_desc-tokens_embedding.npy"):
        tokens = np.load(path, allow_pickle=False)
        meta = json.loads(path.with_suffix(".json").read_text())
        assert list(tokens.shape) == meta["Shape"]
        stem = path.name.replace("_desc-tokens_embedding.npy", "")
        windows = pd.read_csv(path.with_name(f"{stem}_desc-windows_embedding.tsv"), sep="\t")
        assert len(windows) == len(tokens)
        mean = windows.filter(regex="^mean_").to_numpy()
        np.testing.assert_allclose(mean, np.nanmean(tokens, axis=(1, 2)), rtol=1e-4, atol=1e-6)
        scan = pd.read_csv(path.with_name(f"{stem}_desc-scan_embedding.tsv"), sep="\t")
        expected = np.average(windows[scan.columns], axis=0, weights=windows["valid_fraction"])
        np.testing.assert_allclose(scan.to_numpy()[0], expected, rtol=1e-4, atol=1e-6)


def test_embeddings_name_the_weights_they_come_from(out: Path) -> None:
    for sidecar in files(out, "*_embedding.json"):
        model = json.loads(sidecar.read_text())["Model"]
        assert model["Name"] == "tiny-random"
        assert len(model["WeightsSHA256"]) == 64


def test_sources_are_bids_uris_into_the_named_dataset(out: Path) -> None:
    links = json.loads((out / "dataset_description.json").read_text())["DatasetLinks"]
    for sidecar in files(out, "*_desc-model_timeseries.json"):
        for uri in json.loads(sidecar.read_text())["Sources"]:
            scheme, dataset, path = uri.split(":")
            assert (scheme, dataset) == ("bids", "preprocessed")
            assert (out / unquote(links[dataset]) / path).exists()


def test_dataset_description_has_what_bids_requires_of_a_derivative(out: Path) -> None:
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "semantoks"
    assert description["GeneratedBy"][1]["Name"] == "fMRIPrep"
