"""What the participant level writes is what training reads."""

from __future__ import annotations

import builders
import numpy as np

from model.shards.incoming import scans_of_outputs
from model.spec import InputSpec


def test_both_kinds_of_series_of_a_run_give_the_same_stored_series(tmp_path, semantoks) -> None:
    data = builders.make_dataset(tmp_path / "in", subjects=("01", "02"), tasks={"rest": 2.5})
    assert semantoks(data.root, tmp_path / "out").exit_code == 0
    found = {
        desc: list(scans_of_outputs(tmp_path / "out", InputSpec(), description=desc))
        for desc in ("model", "denoised")
    }
    assert [scan.subject for scan in found["model"]] == ["sub-01", "sub-02"]
    for taken, remade in zip(found["model"], found["denoised"], strict=True):
        missing = taken.series.missing
        np.testing.assert_allclose(
            remade.series.values[:, ~missing], taken.series.values[:, ~missing], atol=1e-3
        )
