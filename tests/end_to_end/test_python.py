"""The lines of docs/python.md, as they stand there, on what the app wrote; and its names."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import builders
import numpy as np

from model.spec import bundled_folder
from semantoks import __all__ as public_names

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_lines_of_the_page_run_and_agree_with_the_app(
    tmp_path, semantoks, monkeypatch
) -> None:
    data = builders.make_dataset(tmp_path / "in", tasks={"rest": 0.8, "movie": 0.8}, n_volumes=300)
    words = ("participant", "--checkpoint", str(bundled_folder()))
    answer = semantoks(data.root, tmp_path / "OUT", *words)
    assert answer.exit_code == 0, answer.output
    for ending in ("desc-denoised_timeseries.tsv", "outliers.tsv"):
        (path,) = (tmp_path / "OUT").glob(f"sub-01/func/*task-rest*_{ending}")
        shutil.copy(path, tmp_path / f"sub-01_{ending}")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for lines in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(lines, names)  # noqa: S102 what the page tells users to type
    row = names["X"][names["table"]["task_id"] == "rest"].to_numpy()[0]
    np.testing.assert_allclose(names["vector"], row, atol=2e-6, rtol=0)
    assert names["outliers"].interpolated.sum() > 0
    assert list(names["model"].predict(names["X"])) == list(names["table"]["task_id"])


def test_the_page_names_what_is_public() -> None:
    table = PAGE.read_text().partition("## A series")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)", " ".join(cells))) == sorted(public_names)
