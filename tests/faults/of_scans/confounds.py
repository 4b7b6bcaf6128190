"""Tables of confounds: damaged files, and cells that are no numbers of a scan."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import builders
import numpy as np
from damage import NO_FILE, NO_JSON, NOT_HERE, edit, put, remove, sparse, truncated
from faults import Promise, ScanFault, anyhow, flagged_or_refused, harmless, named, refused, sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from damage import Damage
    from scenes import Victim

_NAME = r"confounds_timeseries|confounds"
_FILES: dict[str, tuple[Damage, Promise]] = {
    "empty": (put(b""), named(_NAME)),
    "blanks": (put(b" \n \n"), named(_NAME)),
    "header-only": (edit(lambda raw: raw.partition(b"\n")[0] + b"\n"), named(_NAME)),
    "without-header": (edit(lambda raw: raw.partition(b"\n")[2]), named(_NAME)),
    "a-row-less": (edit(lambda raw: raw[: raw.rstrip().rfind(b"\n") + 1]), named(_NAME)),
    "a-row-more": (edit(lambda raw: raw + raw[raw.rstrip().rfind(b"\n") + 1 :]), named(_NAME)),
    "twice": (edit(lambda raw: raw + raw), named(_NAME)),
    "half": (truncated(0.5), named(_NAME)),
    "last-cell-cut": (edit(lambda raw: raw[:-8]), anyhow(_NAME)),
    "commas": (edit(lambda raw: raw.replace(b"\t", b",")), named(_NAME)),
    "semicolons": (edit(lambda raw: raw.replace(b"\t", b";")), named(_NAME)),
    "blanks-for-tabs": (edit(lambda raw: raw.replace(b"\t", b"  ")), named(_NAME)),
    "decimal-commas": (edit(lambda raw: raw.replace(b".", b",")), named(_NAME)),
    "carriage-returns": (edit(lambda raw: raw.replace(b"\n", b"\r\n")), harmless()),
    "carriage-returns-alone": (edit(lambda raw: raw.replace(b"\n", b"\r")), sound(_NAME)),
    "byte-order-mark": (edit(lambda raw: b"\xef\xbb\xbf" + raw), harmless()),
    "utf-16": (edit(lambda raw: raw.decode().encode("utf-16")), named(_NAME)),
    "latin-1-header": (edit(lambda raw: b"gr\xfcn\t" + raw), named(_NAME)),
    "nul-bytes": (edit(lambda raw: raw.replace(b"\n", b"\0\n")), sound(_NAME)),
    "all-nul": (put(bytes(5000)), named(_NAME)),
    "binary": (put(bytes(range(256)) * 20), named(_NAME)),
    "gzip": (edit(lambda raw: gzip.compress(raw)), sound(_NAME)),
    "html": (put("<!DOCTYPE html>\n<html>404</html>\n"), named(_NAME)),
    "json": (put('{"trans_x": [1, 2]}'), named(_NAME)),
    "quote-open": (edit(lambda raw: raw.replace(b"\n", b'\n"', 1)), named(_NAME)),
    "a-cell-more": (edit(lambda raw: raw.replace(b"\n", b"\t9\n").replace(b"\t9\n", b"\n", 1)),
                    named(_NAME)),
    "a-cell-more-in-one-row": (edit(lambda raw: raw[:-1] + b"\t9\n"), named(_NAME)),
    "a-cell-less-in-one-row": (edit(lambda raw: raw[: raw.rfind(b"\t")] + b"\n"), anyhow(_NAME)),
    "cell-of-a-megabyte": (edit(lambda raw: raw + b"9" * 10**6), named(_NAME)),
    "sparse-2-GB": (sparse(2 * 10**9), named(_NAME)),
    "blank-line-at-the-end": (edit(lambda raw: raw + b"\n"), harmless()),
    "without-last-newline": (edit(lambda raw: raw.rstrip(b"\n")), harmless()),
    "blank-line-inside": (edit(lambda raw: raw.replace(b"\n", b"\n\n", 2)), sound(_NAME)),
    "removed": (remove, named(_NAME)),
}  # fmt: skip
_CELLS: dict[str, object] = {
    "text": "no",
    "word-true": "True",
    "blank": " ",
    "infinity": "inf",
    "minus-infinity": "-inf",
    "beyond-float": "1e999",
    "1e308": "1e308",
    "date": "2020-01-01",
    "unit": "0.1mm",
    "formula": "=1+1",
    "superscript": "²",
    "comma": "0,5",
    "digits-5000": "9" * 5000,
}
"""In one row of a column"""
_COLUMNS = ("trans_x", "white_matter", "framewise_displacement", "csf", "rot_z")


def confound_faults() -> Iterator[ScanFault]:
    """Yield what can be wrong with a table of confounds."""
    for name, (damage, promise) in _FILES.items():
        yield _fault(f"confounds/file/{name}", damage, promise, alone=name.startswith("sparse"))
    for name, damage in NOT_HERE.items():
        yield _fault(f"confounds/file/{name}", damage, named("datalad get"))
    for name, damage in NO_FILE.items():
        alone = name in ("fifo", "zeros-without-end")
        yield _fault(f"confounds/file/{name}", damage, named(_NAME), alone=alone)
    for name, damage in (NO_JSON | NO_FILE).items():
        yield ScanFault(
            name=f"json/confounds/{name}",
            damage=lambda victim, damage=damage: damage(victim.confounds_metadata),
            promise=named(_NAME),
            words=("--denoise-strategy", "acompcor"),
            alone=name in ("fifo", "zeros-without-end"),
        )
    for name, damage in NOT_HERE.items():
        yield ScanFault(
            name=f"json/confounds/{name}",
            damage=lambda victim, damage=damage: damage(victim.confounds_metadata),
            promise=named("datalad get"),
            words=("--denoise-strategy", "acompcor"),
        )
    yield from _cell_faults()
    yield from _column_faults()
    yield from _descriptions()


def _cell_faults() -> Iterator[ScanFault]:
    for column in _COLUMNS:
        for name, value in _CELLS.items():
            # FD is a threshold only where the strategy has one; the default has.
            yield _table(
                f"cell/{column}/{name}",
                lambda t, column=column, value=value: _with_cell(t, column, value),
                named(column),
            )
        yield _table(
            f"cell/{column}/all-missing",
            lambda t, column=column: t.assign(**{column: np.nan}),
            named(column),
        )
        yield _table(
            f"cell/{column}/all-text",
            lambda t, column=column: t.assign(**{column: "no"}),
            named(column),
        )
        yield _table(
            f"cell/{column}/all-true",
            lambda t, column=column: t.assign(**{column: "True"}),
            named(column),
        )
        yield _table(
            f"cell/{column}/one-missing-inside",
            lambda t, column=column: _with_cell(t, column, np.nan),
            anyhow(column),
        )


def _column_faults() -> Iterator[ScanFault]:
    """Yield columns that are missing, doubled, or say that frames are no signal."""
    flag = "non_steady_state_outlier00"
    cases: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], Promise]] = {
        "missing-trans_x": (lambda t: t.drop(columns="trans_x"), named("trans_x")),
        "missing-all-motion": (
            lambda t: t.drop(columns=[c for c in t if c.startswith(("trans", "rot"))]),
            named("trans_x"),
        ),
        "missing-framewise_displacement": (
            lambda t: t.drop(columns="framewise_displacement"), anyhow("framewise_displacement"),
        ),
        "renamed-upper": (lambda t: t.rename(columns=str.upper), named("trans_x")),
        "one-column": (lambda t: t[["trans_x"]], named(_NAME)),
        "unnamed": (lambda t: t.rename(columns={"trans_x": ""}), named("trans_x")),
        "blank-in-name": (lambda t: t.rename(columns={"trans_x": " trans_x"}), sound("trans_x")),
        "surplus-text": (lambda t: t.assign(note="any words"), harmless()),
        "surplus-infinity": (lambda t: t.assign(other=np.inf), harmless()),
        "index-column": (lambda t: t.reset_index(), harmless()),
        "other-order": (lambda t: t[t.columns[::-1]], sound()),
        "constant-motion": (lambda t: t.assign(trans_x=0.0), anyhow("trans_x")),
        "equal-columns": (lambda t: t.assign(trans_y=t["trans_x"]), anyhow("trans_y")),
        "huge-fd": (lambda t: t.assign(framewise_displacement=99.0), refused()),
        "negative-fd": (
            lambda t: t.assign(framewise_displacement=-1.0), anyhow("framewise_displacement"),
        ),
        "steady-text-no": (lambda t: t.assign(**{flag: "no"}), anyhow(flag)),
        "steady-text-0": (lambda t: t.assign(**{flag: "0.0"}), anyhow(flag)),
        "steady-half": (lambda t: t.assign(**{flag: 0.5}), sound(flag)),
        "steady-missing": (lambda t: t.assign(**{flag: np.nan}), anyhow(flag)),
        "steady-infinity": (lambda t: t.assign(**{flag: np.inf}), sound(flag)),
        "steady-true-false": (lambda t: t.assign(**{flag: [True] + [False] * (len(t) - 1)}),
                              anyhow(flag)),
        "steady-everywhere": (lambda t: t.assign(**{flag: 1.0}), refused()),
        "steady-in-the-middle": (
            lambda t: t.assign(**{flag: (np.arange(len(t)) == 50).astype(float)}), anyhow(),
        ),
        "half-outliers": (
            lambda t: t.assign(framewise_displacement=np.where(np.arange(len(t)) % 2, 5.0, 0.0)),
            flagged_or_refused("."),
        ),
    }  # fmt: skip
    for name, (change, promise) in cases.items():
        yield _table(f"column/{name}", change, promise)
    yield _fault(
        "column/doubled-trans_x",
        edit(lambda raw: raw.replace(b"trans_y\t", b"trans_x\t", 1)),
        named("trans_"),
    )


def _descriptions() -> Iterator[ScanFault]:
    """Yield descriptions of components that are JSON and say the wrong things."""
    cases: dict[str, object] = {
        "empty-object": "{}",
        "list-for-object": '{"a_comp_cor_00": []}',
        "mask-a-number": '{"a_comp_cor_00": {"Mask": 1, "Method": "aCompCor", "Retained": true}}',
        "null-for-object": '{"a_comp_cor_00": null}',
        "digits-401": '{"a_comp_cor_00": {"VarianceExplained": ' + "9" * 401 + "}}",
        "surrogate": '{"a_comp_cor_00": {"Mask": "\\ud800", "Method": "aCompCor"}}',
    }
    for name, text in cases.items():
        yield ScanFault(
            name=f"components/{name}",
            damage=lambda victim, text=text: victim.confounds_metadata.write_text(text),
            promise=named(_NAME),
            words=("--denoise-strategy", "acompcor"),
        )


def _with_cell(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    changed = table.astype({column: object})
    changed.loc[50, column] = value
    return changed


def _table(
    name: str, change: Callable[[pd.DataFrame], pd.DataFrame], promise: Promise
) -> ScanFault:
    def plant(victim: Victim) -> None:
        table = change(builders.read_confounds(victim))
        table.to_csv(victim.confounds, sep="\t", index=False, na_rep="n/a")

    return ScanFault(name=name, damage=plant, promise=promise)


def _fault(name: str, damage: Damage, promise: Promise, *, alone: bool = False) -> ScanFault:
    return ScanFault(
        name=name, damage=lambda victim: damage(victim.confounds), promise=promise, alone=alone
    )
