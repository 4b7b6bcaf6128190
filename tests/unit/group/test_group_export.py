"""Group export by pieces: what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import outputs
import pandas as pd
import pyarrow.parquet as pq
import pytest

from bids_app.errors import OptionsError, OutputError
from bids_app.group import annotated, pieces
from bids_app.group import table as group_table
from bids_app.group.export import export_group, preview_group
from bids_app.group.options import GroupOptions
from bids_app.outputs.group import CohortScan
from model.cohort.record import ScanRecord

if TYPE_CHECKING:
    from pathlib import Path

SUBJECTS = [f"{i:02d}" for i in range(7)]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for seed, sub in enumerate(SUBJECTS):
        outputs.write_run(tmp_path, sub, seed=seed)
    return tmp_path


def table(out: Path) -> pd.DataFrame:
    return pd.read_parquet(out / "group_desc-scan_embedding.parquet")


def exported(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("group*")}


def test_a_second_export_gives_the_same_bytes(out) -> None:
    export_group(out, GroupOptions(tsv=True))
    before = exported(out)
    export_group(out)
    assert exported(out) == before


def test_what_changed_vanished_failed_or_came_is_seen(out) -> None:
    export_group(out)
    before = table(out)
    outputs.write_run(out, "01", seed=100)
    shutil.rmtree(out / "sub-02")
    (status,) = (out / "sub-03").rglob("*_status.json")
    status.write_text(status.read_text().replace('"embedded"', '"failed"'))
    outputs.write_run(out, "0a", seed=101)
    export_group(out)
    after = table(out)
    assert list(after["participant_id"]) == [
        "sub-00", "sub-01", "sub-04", "sub-05", "sub-06", "sub-0a",
    ]  # fmt: skip
    assert after["mean_000"][1] != before["mean_000"][1]
    assert after["mean_000"][2] == before["mean_000"][4]


def test_nothing_but_tables_and_their_sidecars_is_left(out) -> None:
    export_group(out)
    names = {path.name for path in out.iterdir() if not path.name.startswith("sub-")}
    assert names == {
        "group_desc-scan_embedding.parquet", "group_desc-scan_embedding.json",
        "group_status.tsv", "group_status.json",
    }  # fmt: skip


def test_row_groups_hold_what_one_piece_would(out, monkeypatch) -> None:
    export_group(out)
    whole = table(out)
    (out / "group_desc-scan_embedding.json").unlink()
    monkeypatch.setattr(group_table, "ROWS_AT_ONCE", 4)
    export_group(out)
    assert pq.ParquetFile(out / "group_desc-scan_embedding.parquet").num_row_groups == 2
    pd.testing.assert_frame_equal(table(out), whole)


def test_pieces_are_grouped_by_whole_scans_and_text_of_arrays_is_every_window_s(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(pieces, "NUMBERS_AT_ONCE", 8)  # four rows
    monkeypatch.setattr(pieces, "_ROWS", 3)
    record = ScanRecord(status="embedded", reason="", entities={}, source="", configuration="")
    given = [
        pieces.Pieces(
            CohortScan(replace(record, entities={"sub": f"{number:02d}"})),
            {"network": ["A", "B"] * (n // 2)},
            ["token_000", "token_001"],
            np.full((n, 2), number, np.float32),
        )
        for number, n in enumerate((2, 2, 4, 6, 2))
    ]
    columns = group_table.Columns(last=())
    columns.note({"participant_id": "sub-00"}, embedded=True)
    path = tmp_path / "tokens.parquet"
    pieces.write_pieces(iter(given), columns, path)
    file = pq.ParquetFile(path)
    groups = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    assert groups == [4, 4, 6, 2]
    found = pd.read_parquet(path)
    assert found["token_001"].tolist() == found["participant_id"].str[-2:].astype(float).tolist()
    pieces.write_npz(path, tmp_path / "tokens.npz", grid=(2, 1))
    with np.load(tmp_path / "tokens.npz") as arrays:
        assert arrays["participant_id"].tolist() == found["participant_id"][::2].tolist()


def test_numbers_keep_their_kind_and_missing_ones_are_missing(out) -> None:
    outputs.write_run(out, "07", seed=7, QC={"tr": 2, "flags": {"short": "x", "odd": "y"}})
    export_group(out, GroupOptions(tsv=True))
    found = table(out)
    assert found["n_volumes"].isna().tolist() == [False] * 7 + [True]
    assert found["tr"].dtype == np.float64
    assert found["flags"].tolist()[-1] == "short,odd"
    assert found["flags"].isna().tolist() == [True] * 7 + [False]
    assert found["Cerebellum_000"].isna().all()
    assert found["Cerebellum_000"].dtype == np.float32
    text = pd.read_csv(out / "group_desc-scan_embedding.tsv", sep="\t", na_values="n/a")
    assert text["n_volumes"].tolist()[:7] == [300] * 7
    assert "\t300\t" in (out / "group_status.tsv").read_text().splitlines()[1]


def rare_network(out: Path) -> GroupOptions:
    """Sites of which one has a network in a single scan."""
    pytest.importorskip("combatlearn")
    people = out / "people.tsv"
    rows = [f"{sub}\t{'ab'[i % 2]}" for i, sub in enumerate(SUBJECTS)]
    people.write_text("\n".join(["participant_id\tsite", *rows]) + "\n")
    for sub in SUBJECTS[3::2]:
        (path,) = (out / f"sub-{sub}").rglob("*_desc-scan_embedding.tsv")
        header, row, _ = path.read_text().split("\n")
        cells = zip(header.split("\t"), row.split("\t"), strict=True)
        gone = ["n/a" if name.startswith("Vis_") else cell for name, cell in cells]
        path.write_text(f"{header}\n" + "\t".join(gone) + "\n")
        sidecar = path.with_suffix(".json")
        said = json.loads(sidecar.read_text()) | {"MissingNetworks": ["Vis", "Cerebellum"]}
        sidecar.write_text(json.dumps(said))
        outputs.sign(next(path.parent.glob("*_status.json")), path, sidecar)
    return GroupOptions(harmonize="site", participants=people)


def test_a_network_that_a_site_hardly_has_is_refused_before_a_table_is_written(
    out, caplog
) -> None:
    options = rare_network(out)
    for call in (preview_group, export_group):
        with pytest.raises(OptionsError, match="of Vis fewer than two scans to learn from at b"):
            call(out, options)
        assert "--harmonize site learns from everybody" in caplog.text
        caplog.clear()
    assert not list(out.glob("*.parquet"))


def test_a_library_that_is_not_here_is_told_before_anything(out, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "combatlearn", None)
    for call in (preview_group, export_group):
        with pytest.raises(OptionsError, match="needs the library combatlearn"):
            call(out, GroupOptions(harmonize="site"))
    assert not list(out.glob("group*"))


def test_no_room_for_anndata_is_a_fault_of_the_place(out, monkeypatch) -> None:
    pytest.importorskip("anndata")

    def full(*_: object) -> None:
        raise RuntimeError("error message = 'No space left on device'")

    monkeypatch.setattr(annotated, "_stream", full)
    with pytest.raises(OutputError, match="No space left"):
        export_group(out, GroupOptions(anndata=True))
    assert not list(out.glob("*.h5ad"))


def test_a_text_table_that_is_there_is_kept_up_to_date(out) -> None:
    export_group(out)
    text = out / "group_desc-scan_embedding.tsv"
    assert not text.exists()
    export_group(out, GroupOptions(tsv=True))
    assert len(text.read_text().splitlines()) == 8
    outputs.write_run(out, "08", seed=8)
    assert text in export_group(out).paths
    assert len(text.read_text().splitlines()) == 9


def test_what_is_kept_keeps_its_effect_and_else_goes_with_the_sites(tmp_path) -> None:
    pytest.importorskip("combatlearn")
    rng, n, slope, gap = np.random.default_rng(0), 40, 0.1, 3.0
    site = np.repeat([0, 1], n // 2)
    age = 30 + 20 * site + rng.uniform(0, 20, n)  # the second site has the older people
    rows = [f"{i:02d}\t{'ab'[site[i]]}\t{age[i]:.4f}" for i in range(n)]
    people = tmp_path / "people.tsv"
    people.write_text("\n".join(["participant_id\tsite\tage", *rows]) + "\n")
    for i in range(n):
        status = outputs.write_run(tmp_path, f"{i:02d}", seed=i)
        (path,) = status.parent.glob("*_desc-scan_embedding.tsv")
        header, row, _ = path.read_text().split("\n")
        effect = slope * age[i] + gap * site[i]
        cells = [c if c == "n/a" else f"{0.3 * float(c) + effect:.6f}" for c in row.split("\t")]
        path.write_text(f"{header}\n" + "\t".join(cells) + "\n")
        outputs.sign(status, path)

    def between_sites(table: str, *kept: str) -> float:
        export_group(
            tmp_path, GroupOptions(harmonize="site", harmonize_keep=kept, participants=people)
        )
        found = pd.read_parquet(tmp_path / f"group_desc-{table}_embedding.parquet")
        means = found.groupby("site").mean(numeric_only=True).filter(regex=r"^(mean|cls)_\d{3}$")
        return float((means.loc["b"] - means.loc["a"]).mean())

    of_age = slope * float(age[site == 1].mean() - age[site == 0].mean())
    assert between_sites("scan") == pytest.approx(of_age + gap, rel=0.1)
    assert between_sites("harmonized", "age") == pytest.approx(of_age, rel=0.15)
    assert between_sites("harmonized") == pytest.approx(0, abs=0.05)


def test_what_an_earlier_call_left_is_named_unless_it_is_of_the_same_scans(out, caplog) -> None:
    pytest.importorskip("combatlearn")
    people = out / "people.tsv"
    rows = [f"{sub}\t{site}" for sub, site in zip(SUBJECTS, "abababa", strict=True)]
    people.write_text("\n".join(["participant_id\tsite", *rows]) + "\n")
    joined = GroupOptions(participants=people)
    harmonized = replace(joined, harmonize="site")
    export_group(out, harmonized)
    export_group(out, joined)
    assert "earlier call" not in caplog.text
    told = "of other scans, columns or values"
    assert [line for line in preview_group(out, GroupOptions()).lines if told in line] == [
        f"would leave group_desc-harmonized_embedding.parquet as it is, {told}"
    ]
    export_group(out)
    (warning,) = (r.getMessage() for r in caplog.records if "earlier call" in r.getMessage())
    assert "group_desc-harmonized_embedding.parquet" in warning
    assert "scan_embedding" not in warning
    caplog.clear()
    export_group(out, harmonized)
    assert "earlier call" not in caplog.text


def test_an_anndata_file_of_older_tables_is_named(out, caplog) -> None:
    pytest.importorskip("anndata")
    export_group(out, GroupOptions(anndata=True))
    export_group(out)
    assert "earlier call" not in caplog.text
    outputs.write_run(out, "01", seed=100)
    assert any(
        "scan_embedding.h5ad as it is, of other" in line
        for line in preview_group(out, GroupOptions()).lines
    )
    export_group(out)
    assert "group_desc-scan_embedding.h5ad" in caplog.text


def test_a_twin_text_of_a_harmonised_table_is_written_with_it(out) -> None:
    pytest.importorskip("combatlearn")
    people = out / "people.tsv"
    tables = []
    for sites in ("abababa", "aabbaab"):
        rows = [f"{sub}\t{site}" for sub, site in zip(SUBJECTS, sites, strict=True)]
        people.write_text("\n".join(["participant_id\tsite", *rows]) + "\n")
        options = GroupOptions(harmonize="site", participants=people, tsv=not tables)
        export_group(out, options)
        text = pd.read_csv(out / "group_desc-harmonized_embedding.tsv", sep="\t")
        whole = pd.read_parquet(out / "group_desc-harmonized_embedding.parquet")
        np.testing.assert_allclose(text["Vis_000"], whole["Vis_000"], rtol=1e-5)
        tables.append(whole["Vis_000"].to_numpy())
    assert not np.allclose(*tables)


def test_columns_that_say_nothing_are_named(out) -> None:
    for seed, sub in enumerate(SUBJECTS):
        (path,) = (out / f"sub-{sub}").rglob("*_desc-scan_embedding.tsv")
        header, row, _ = path.read_text().split("\n")
        cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
        cells |= {"Vis_001": "0", "SomMot_000": f"{0.5 + 1e-7 * seed:.8g}"}
        path.write_text(f"{header}\n" + "\t".join(cells.values()) + "\n")
        outputs.sign(next(path.parent.glob("*_status.json")), path)
    export_group(out)
    said = json.loads((out / "group_desc-scan_embedding.json").read_text())
    assert said["ConstantColumns"] == ["Vis_001", "SomMot_000"]


def test_columns_that_are_relied_on_are_there_whether_or_not_they_are_known(
    tmp_path, monkeypatch
) -> None:
    out = tmp_path
    monkeypatch.setattr(outputs, "STEM", "space-MNI152NLin6Asym_atlas-Semantoks457")
    for seed, sub in enumerate(SUBJECTS):
        entities = {"sub": sub, "space": "MNI152NLin6Asym"}
        outputs.write_run(out, sub, seed=seed, Entities=entities, QC={"tr": 2.0})
    export_group(out, GroupOptions(tsv=True, anndata=find_spec("anndata") is not None))
    found = table(out)
    for name in ("task_id", "mean_fd", "usable_seconds"):
        assert found[name].isna().all()
        assert pd.read_csv(out / "group_status.tsv", sep="\t")[name].isna().all()
    assert found["mean_fd"].dtype == found["usable_seconds"].dtype == np.float64
    assert not (found["usable_seconds"] >= 200).any()
    said = json.loads((out / "group_desc-scan_embedding.json").read_text())
    assert "tr" in said
    assert "coverage_mean" not in said
