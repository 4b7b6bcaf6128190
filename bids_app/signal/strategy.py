"""Denoising strategies: which confounds, and which volumes count as motion outliers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bids_app.errors import OptionsError
from model.errors import ConfigError
from model.files.faults import faults_as
from model.files.read import read_json
from model.files.settings import Count, CountOrZero, Positive, Strict, from_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Expansion = Literal["basic", "derivatives", "power2", "full"]
"""A signal alone; with its derivative; with its square; with derivative and both squares."""
CompCor = Literal["anat_combined", "anat_separated", "temporal"]
"""Components of the joint white matter and CSF mask; of each; of high-variance voxels."""

_MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
_EXPANSIONS: dict[Expansion | None, tuple[str, ...]] = {
    None: (),
    "basic": ("",),
    "derivatives": ("", "_derivative1"),
    "power2": ("", "_power2"),
    "full": ("", "_derivative1", "_power2", "_derivative1_power2"),
}
_COMPCOR_MASKS = {"anat_combined": ("combined",), "anat_separated": ("WM", "CSF")}


@dataclass(frozen=True, kw_only=True)
class Strategy(Strict):
    """What to regress out of a scan's series, and when a volume is an outlier.

    A strategy file (``bids_app/data/strategies`` has the named ones) holds these fields as a
    JSON object; absent ones keep their defaults, which regress nothing.
    """

    name: str
    """Of the file; not a key in it."""
    description: str = ""
    motion: Expansion | None = None
    """The 6 motion parameters; ``full`` gives 24 columns."""
    wm_csf: Expansion | None = None
    """Mean signals of white matter and CSF."""
    global_signal: Expansion | None = None
    compcor: CompCor | None = None
    n_compcor: Count | None = None
    """Components per mask; None: all that fMRIPrep retained (half of the variance)."""
    aroma: bool = False
    """Components that ICA-AROMA classified as motion."""
    cosine: bool = False
    """fMRIPrep's cosine drift terms (128 s)."""
    columns: tuple[str, ...] = ()
    """Further columns by name."""
    fd_threshold_mm: Positive | None = None
    """Framewise displacement beyond which a volume is an outlier."""
    std_dvars_threshold: Positive | None = None
    """Standardized DVARS beyond which a volume is an outlier."""
    min_segment_frames: CountOrZero = 0
    """Between outliers, shorter stretches are outliers too."""

    @property
    def needs_table(self) -> bool:
        """Whether a scan without a confounds table cannot be processed this way."""
        regressed = (self.motion, self.wm_csf, self.global_signal, self.compcor, self.columns)
        thresholds = (self.fd_threshold_mm, self.std_dvars_threshold)
        return any(regressed) or self.aroma or self.cosine or thresholds != (None, None)


def available_strategies() -> tuple[str, ...]:
    """Return the names that ``--denoise-strategy`` knows, sorted."""
    folder = files("bids_app") / "data" / "strategies"
    names = (item.name for item in folder.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json")))


def load_strategy(name_or_path: str | Path) -> Strategy:
    """Load a strategy by name, or from a JSON file of the user's own.

    Raises
    ------
    OptionsError
        Neither a name nor a file; or the file holds unknown keys or impossible values.
    """
    name = str(name_or_path)
    if name in available_strategies():
        source = files("bids_app") / "data" / "strategies" / f"{name}.json"
    elif Path(name).is_file():
        source, name = Path(name), Path(name).stem
    else:
        raise OptionsError(
            f"--denoise-strategy {name}: neither a known name nor a file.",
            hint=f"Names: {', '.join(available_strategies())}.",
        )
    where = f"--denoise-strategy {source}"
    with faults_as(OptionsError, where=where):
        content = read_json(Path(str(source)))
    if "name" in content:
        raise OptionsError(f"{where}: key name is not allowed; the file's name is the name.")
    try:
        strategy = from_dict(Strategy, {**content, "name": name}, where=where)
    except ConfigError as err:
        hint = err.hint or "docs/denoising.md lists the keys and their values."
        raise OptionsError(err.message, hint=hint) from err
    for column in strategy.columns:
        if re.search(r"[*?\[]", column):
            raise OptionsError(
                f"{where}: columns holds {column!r}; expected names of columns, no patterns.",
                hint='Groups have keys of their own: "cosine": true takes cosine00, cosine01, …',
            )
    return strategy


def strategy_columns(
    strategy: Strategy, columns: Sequence[str], meta: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Return the columns that a strategy takes, and those it needs but the table lacks.

    An expansion is not lacking where its signal is there (`base_signal`).
    """
    wanted = [
        name + suffix
        for signals, expansion in (
            (_MOTION, strategy.motion),
            (("csf", "white_matter"), strategy.wm_csf),
            (("global_signal",), strategy.global_signal),
        )
        for suffix in _EXPANSIONS[expansion]
        for name in signals
    ]
    wanted += strategy.columns
    missing = []
    if strategy.compcor:
        components, absent = _compcor_columns(strategy, meta)
        wanted += components
        missing += absent
    if strategy.cosine:  # a short run has none
        wanted += numbered(columns, "cosine")
    if strategy.aroma:
        components = numbered(columns, "aroma_motion")
        wanted += components
        missing += [] if components else ["aroma_motion_*"]
    names = list(dict.fromkeys(wanted))
    return names, missing + [
        name for name in names if {name, base_signal(name)}.isdisjoint(columns)
    ]


def base_signal(name: str) -> str:
    """Return the signal that a column expands: ``csf`` of ``csf_derivative1_power2``.

    fMRIPrep before 1.4 wrote the signals alone; their expansions follow from them.
    """
    return re.sub(r"(_derivative1)?(_power2)?$", "", name)


def numbered(columns: Iterable[str], prefix: str) -> list[str]:
    """Return the columns ``<prefix>00``, ``<prefix>_01``, … in the order of their numbers."""
    return sorted((c for c in columns if re.fullmatch(rf"{prefix}_?\d{{1,9}}", c)), key=_number)


def _number(name: str) -> int:
    return int(re.findall(r"\d+", name)[-1])


def _compcor_columns(strategy: Strategy, meta: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Choose components by what the JSON says of them: indices mean different masks.

    ``a_comp_cor_00`` belongs to the joint mask in one version of fMRIPrep, to CSF in another.
    """
    retained = [
        key
        for key, entry in meta.items()
        if re.search(r"_comp_cor_\d{1,9}$", key)
        and isinstance(entry, dict)
        and entry.get("Retained", True)
    ]
    groups: dict[str, list[str]] = (
        {"tCompCor": [key for key in retained if meta[key].get("Method") == "tCompCor"]}
        if strategy.compcor == "temporal"
        else {
            mask: [key for key in retained if meta[key].get("Mask") == mask]
            for mask in _COMPCOR_MASKS[strategy.compcor or "anat_combined"]
        }
    )
    absent = [f"*_comp_cor_* ({group} in the JSON)" for group, keys in groups.items() if not keys]
    return [
        key for keys in groups.values() for key in sorted(keys, key=_number)[: strategy.n_compcor]
    ], absent
