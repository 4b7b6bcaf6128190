"""A CIFTI run through the command line: chosen, extracted, embedded, reported, exported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import builders
import grayordinate_builders as gray
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from bids_app.cli.assets import main as assets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CIFTI = "sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii"
STEM = "sub-01_task-rest_space-fsLR_atlas-Semantoks457_den-91k"


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    """An atlas folder with volumes and grayordinates, each of 457 parcels."""
    folder = builders.make_atlas(tmp_path_factory.mktemp("both") / "atlas")
    return gray.make_atlas(folder)


def add_cifti(
    data: builders.Dataset, axis=None, *, paint: Callable | None = None, tr_s: float = 2.0
) -> Path:
    """Write the truth of the first scan on grayordinates, with noise, beside its volumes."""
    scan = data.scans[0]
    axis = gray.make_axis("C") if axis is None else axis
    labels = gray.labels_on(axis) if paint is None else paint(axis)
    rng = np.random.default_rng(1)
    signal = np.concatenate([np.zeros((len(scan.truth), 1)), scan.truth], axis=1)
    values = 1000 * (1 + signal[:, labels] / 100)
    values += rng.normal(scale=1, size=values.shape)
    return gray.write_series(scan.bold.with_name(CIFTI), values, axis, tr_s=tr_s)


def table(out: Path, ending: str) -> pd.DataFrame:
    (path,) = out.rglob(f"{STEM}{ending}")
    return pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)


def sidecar(out: Path, ending: str) -> dict:
    (path,) = out.rglob(f"{STEM}{ending}")
    return json.loads(path.read_text())


def agreement(series: pd.DataFrame, truth: np.ndarray) -> np.ndarray:
    """Correlation of each parcel with its truth over the shared last volumes."""
    ours, theirs = series.to_numpy(), truth[-len(series) :]
    return np.array([np.corrcoef(ours[:, p], theirs[:, p])[0, 1] for p in range(457)])


def test_a_run_of_200_volumes_on_grayordinates_is_embedded(tmp_path, semantoks, both) -> None:
    data = builders.make_dataset(tmp_path / "in", n_volumes=200)
    cifti = add_cifti(data)
    out = tmp_path / "out"
    answer = semantoks(data.root, out, "participant", "--atlas", both)
    assert answer.exit_code == 0, answer.output
    assert CIFTI.removesuffix("_bold.dtseries.nii") in answer.output
    coverage = table(out, "_coverage.tsv")
    assert (coverage["status"] == "used").all()
    assert coverage["n_voxels_atlas"].tolist() == [3] * 450 + [4] * 7
    series = table(out, "_desc-denoised_timeseries.tsv")
    assert np.median(agreement(series, data.scans[0].truth)) > 0.6
    meta = sidecar(out, "_desc-denoised_timeseries.json")
    assert (meta["Space"], meta["Mask"], meta["RepetitionTime"]) == ("fsLR", "grayordinates", 2.0)
    assert meta["RepetitionTimeSource"] == "CIFTI header"  # the volumes' sidecar is not its own
    assert meta["Sources"][0] == f"bids:preprocessed:sub-01/func/{cifti.name}"
    assert not [path for path in out.rglob("*") if builders.SPACE in path.name]
    report = (out / "sub-01.html").read_text()
    assert "fsLR" in report
    assert "Grayordinates that were not finite or constant were left out" in report
    assert "none: a CIFTI file lists gray matter only" in report
    assert semantoks(tmp_path, out, "group").exit_code == 0
    (row,) = pd.read_csv(out / "group_desc-scan_embedding.tsv", sep="\t").to_dict("records")
    assert (row["space"], row["mask"]) == ("fsLR", "grayordinates")


def test_grayordinates_and_volumes_of_a_run_both_give_the_signals_back(
    tmp_path, semantoks, both
) -> None:
    data = builders.make_dataset(tmp_path / "in", n_volumes=120)
    add_cifti(data)
    found = {}
    for space in ("fsLR", builders.SPACE):
        out = tmp_path / space
        answer = semantoks(data.root, out, "participant", "--atlas", both, "--space", space)
        assert answer.exit_code == 0, answer.output
        (path,) = out.rglob("*_desc-denoised_timeseries.tsv")
        assert f"space-{space}" in path.name
        series = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
        found[space] = agreement(series, data.scans[0].truth)
    assert all(np.median(r) > 0.3 for r in found.values())  # chance: 0.0 ± 0.1


def test_170k_grayordinates_need_an_atlas_of_their_own(tmp_path, semantoks, both) -> None:
    data = builders.make_dataset(tmp_path / "in")
    axis = gray.make_fine_axis()
    path = add_cifti(data, axis, paint=gray.fine_labels_on)
    path.rename(path.with_name(path.name.replace("den-91k", "den-170k")))
    out = tmp_path / "out"
    call = (data.root, out, "participant", "--space", "fsLR", "--atlas")
    refused = semantoks(*call, both)
    assert refused.exit_code == 78
    assert "no atlas is installed for space-fsLR_den-170k" in refused.output
    assert "Install one with semantoks assets atlas" in refused.output
    atlas = gray.make_atlas(tmp_path / "atlas", density="170k")
    assert semantoks(*call, atlas).exit_code == 0
    (series,) = out.rglob("*_den-170k_desc-denoised_timeseries.tsv")
    found = agreement(pd.read_csv(series, sep="\t", na_values="n/a"), data.scans[0].truth)
    assert np.median(found) > 0.3  # chance: 0.0 ± 0.1
    (coverage,) = out.rglob("*_den-170k_coverage.tsv")
    counts = pd.read_csv(coverage, sep="\t", na_values="n/a", keep_default_na=False)
    assert counts["n_voxels_used"].tolist() == [9] * 400 + [24] * 50 + [32] * 7


def test_of_two_densities_the_91k_are_taken(tmp_path, semantoks, both) -> None:
    data = builders.make_dataset(tmp_path / "in")
    path = add_cifti(data, gray.make_fine_axis(), paint=gray.fine_labels_on)
    path.rename(path.with_name(path.name.replace("den-91k", "den-170k")))
    add_cifti(data)
    atlas = gray.make_atlas(gray.make_atlas(tmp_path / "atlas"), density="170k")
    answer = semantoks(data.root, tmp_path / "out", "participant", "--atlas", atlas, "--dry-run")
    assert "same run chosen in space-fsLR (it comes first at 457" in answer.output
    mixed = semantoks(data.root, tmp_path / "o", "participant", "--atlas", both, "--dry-run")
    assert "no atlas is installed for space-fsLR_den-170k" in mixed.output


def test_a_dry_run_says_why_the_other_space_was_taken(tmp_path, semantoks, both) -> None:
    data = builders.make_dataset(tmp_path / "in")
    add_cifti(data)
    call = (data.root, tmp_path / "out", "participant", "--atlas", both, "--dry-run")
    assert "same run chosen in space-fsLR (that of the study)" in semantoks(*call).output
    answer = semantoks(*call, "--space", "each")
    assert "same run chosen in space-fsLR (it comes first at 457 parcels in both)" in answer.output


def test_a_file_without_cerebellum_is_embedded_with_a_missing_network(
    tmp_path, semantoks, both
) -> None:
    data = builders.make_dataset(tmp_path / "in")
    add_cifti(data, gray.make_axis("F", without=list(gray.CEREBELLUM)))
    out = tmp_path / "out"
    assert semantoks(data.root, out, "participant", "--atlas", both).exit_code == 0
    assert sidecar(out, "_desc-scan_embedding.json")["MissingNetworks"] == ["Cerebellum"]
    assert set(table(out, "_coverage.tsv")["reason"][450:]) == {
        "not among the file's grayordinates"
    }


def test_a_step_that_contradicts_the_sidecar_fails_the_run(tmp_path, semantoks, both) -> None:
    data = builders.make_dataset(tmp_path / "in")
    path = add_cifti(data, tr_s=2000.0)
    own = path.with_name(path.name.replace(".dtseries.nii", ".json"))
    own.write_text('{"RepetitionTime": 3.0}')
    call = (data.root, tmp_path / "out", "participant", "--atlas", both)
    answer = semantoks(*call)
    assert answer.exit_code == 1
    assert "2000 s in the CIFTI header" in answer.output
    own.unlink()
    assert "expected 0.1 to 20 s" in semantoks(*call).output
    assert semantoks(*call, "--tr", "2").exit_code == 0


def test_a_truncated_file_fails_alone_with_its_reason(tmp_path, semantoks, both) -> None:
    data = builders.make_dataset(tmp_path / "in")
    path = add_cifti(data)
    path.write_bytes(path.read_bytes()[:-5000])
    answer = semantoks(data.root, tmp_path / "out", "participant", "--atlas", both)
    assert answer.exit_code == 1
    assert "truncated" in answer.output


@pytest.fixture(scope="module")
def real_atlas(shared_data, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    words = ["atlas", "--from", str(shared_data / "atlases"), "--home", str(home)]
    assert CliRunner().invoke(assets, [*words, "--for-space", "fsLR"]).exit_code == 0
    return home / "atlas"


def test_a_long_run_on_the_real_grayordinates_gives_its_signals_back(
    tmp_path, semantoks, shared_data, real_atlas
) -> None:
    """Real places in the order of fMRIPrep up to 23.1.3, simulated signals."""
    (real,) = (shared_data / "bold").glob("*_space-fsLR_den-91k_bold.dtseries.nii")
    (labels_path,) = real_atlas.rglob("*.dlabel.nii")
    image = nib.load(labels_path)
    places = zip(image.header.get_axis(1), np.asarray(image.dataobj)[0], strict=True)
    label_of = {(row[2], tuple(np.atleast_1d(row[1]))): int(label) for row, label in places}

    def paint(axis) -> np.ndarray:
        return np.array([label_of[row[2], tuple(np.atleast_1d(row[1]))] for row in axis])

    data = builders.make_dataset(tmp_path / "in", n_volumes=200)
    add_cifti(data, nib.load(real).header.get_axis(1), paint=paint)
    out = tmp_path / "out"
    answer = semantoks(data.root, out, "participant", "--atlas", real_atlas)
    assert answer.exit_code == 0, answer.output
    assert (table(out, "_coverage.tsv")["coverage"] == 1).all()
    series = table(out, "_desc-denoised_timeseries.tsv")
    assert np.median(agreement(series, data.scans[0].truth)) > 0.6
