"""Scans that were made in different ways: what differs is said in words; a table of each space."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import outputs
import pandas as pd
import pytest

from bids_app.errors import NothingSelectedError, OptionsError
from bids_app.group.export import export_group
from bids_app.group.options import GroupOptions
from bids_app.outputs.differences import differences
from semantoks import load_embeddings

if TYPE_CHECKING:
    from pathlib import Path

SPACES = ("MNI152NLin6Asym", "fsLR")


def write(out: Path, sub: str, *, settings: str, **said: Any) -> None:
    """Write a scan of other settings, which its sidecar says in full."""
    status = outputs.write_run(
        out, sub, seed=int(sub), ConfigurationHash=f"{settings * 16}-01234567"
    )
    sidecar = status.with_name(status.name.replace("status", "desc-scan_embedding"))
    content = json.loads(sidecar.read_text())
    content["Settings"] |= {"strategy": {"name": "default"}} | said
    sidecar.write_text(json.dumps(content))
    outputs.sign(status, sidecar)


def in_space(out: Path, sub: str, space: str, *, settings: str) -> None:
    """Write a scan in another space than the builder's."""
    write(out, sub, settings=settings, space=space)
    folder = out / f"sub-{sub}" / "func"
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("MNI152NLin6Asym", space))
    (status,) = folder.glob("*status.json")
    status.write_text(status.read_text().replace("MNI152NLin6Asym", space))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for sub in ("01", "02", "03"):
        write(tmp_path, sub, settings="a")
    return tmp_path


def test_what_differs_is_said_in_words_with_the_number_of_scans(out) -> None:
    write(out, "04", settings="b", strategy={"name": "none"}, signal={"tr_s": 2.5})
    with pytest.raises(OptionsError) as caught:
        export_group(out)
    text = str(caught.value)
    assert "4 scans cannot stand in one table" in text
    assert "repetition time that was given (--tr): none (3 scans), 2.5 (1 scan)" in text
    assert "denoising strategy (--denoise-strategy): default (3 scans), none (1 scan)" in text
    assert "--split-by" not in text


def test_the_status_table_is_new_although_the_table_is_refused(out) -> None:
    export_group(out)
    before = (out / "group_desc-scan_embedding.parquet").read_bytes()
    write(out, "04", settings="b", strategy={"name": "none"})
    outputs.write_run(out, "05", seed=5, Status="failed", Reason="no mask")
    with pytest.raises(OptionsError):
        export_group(out)
    found = pd.read_csv(out / "group_status.tsv", sep="\t", keep_default_na=False)
    assert found["participant_id"].tolist() == [f"sub-0{i}" for i in range(1, 6)]
    assert found["reason"].tolist()[-1] == "no mask"
    assert (out / "group_desc-scan_embedding.parquet").read_bytes() == before


def test_there_can_be_one_table_of_each_space(out, caplog) -> None:
    export_group(out)
    in_space(out, "04", "fsLR", settings="b")
    with pytest.raises(OptionsError, match="--split-by space") as caught:
        export_group(out)
    expected = "space (--space): MNI152NLin6Asym (3 scans), fsLR (1 scan)"
    assert expected in str(caught.value)
    names = [
        path.name for path in export_group(out, GroupOptions(split_by="space", tsv=True)).paths
    ]
    assert names == [
        *(
            f"group_space-{s}_desc-scan_embedding.{e}"
            for s in SPACES
            for e in ("parquet", "tsv", "json")
        ),
        "group_status.tsv",
        "group_status.json",
    ]
    sizes = [len(pd.read_parquet(out / name)) for name in names if name.endswith("parquet")]
    assert sizes == [3, 1]
    *_, told = (r.getMessage() for r in caplog.records if "of an earlier call" in r.getMessage())
    assert "by this one: group_desc-scan_embedding.parquet. " in told


def test_a_space_that_is_mixed_itself_is_refused_when_split(out) -> None:
    in_space(out, "04", "fsLR", settings="b")
    write(out, "05", settings="c", strategy={"name": "none"})
    with pytest.raises(OptionsError, match="denoising strategy"):
        export_group(out, GroupOptions(split_by="space"))


def test_python_takes_one_space_of_several(out) -> None:
    in_space(out, "04", "fsLR", settings="b")
    with pytest.raises(OptionsError, match="space"):
        load_embeddings(out)
    for _ in range(2):
        assert load_embeddings(out, space="fsLR").table["participant_id"].tolist() == ["sub-04"]
        export_group(out, GroupOptions(split_by="space"))
    with pytest.raises(NothingSelectedError, match="no scan in space T1w"):
        load_embeddings(out, space="T1w")


def test_a_strategy_of_another_name_is_one_difference() -> None:
    one = {"strategy": {"name": "default", "motion": "full", "cosine": True}}
    other = {"strategy": {"name": "none", "motion": None, "cosine": False}}
    (line,) = differences([(one, 2), (other, 1)])
    assert line == "denoising strategy (--denoise-strategy): default (2 scans), none (1 scan)"
    (line,) = differences([(one, 2), ({"strategy": {**one["strategy"], "motion": "basic"}}, 1)])
    assert line == "strategy.motion: full (2 scans), basic (1 scan)"
