"""Names of BIDS files: parse them strictly, and compose new ones. String work only."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from functools import lru_cache

_LABEL = re.compile(r"[0-9A-Za-z+]+")
_PAIR = re.compile(r"([a-z]+)-([0-9A-Za-z+]+)")
_ENDING = re.compile(r"([0-9A-Za-z]+)(\.[^/\\]+)")

OF_A_DERIVATIVE = ("echo", "part", "hemi", "space", "cohort", "res", "den", "desc")
"""Entities that do not tell one acquisition from another"""


@dataclass(frozen=True, kw_only=True)
class Entities:
    """What a BIDS name says about a file; each label exactly as written (``01`` stays).

    The fields stand in the order of names: that of the BIDS schema, but for ``cohort``, which
    nibabies writes after the space that it belongs to.
    """

    sub: str
    ses: str | None = None
    task: str | None = None
    acq: str | None = None
    ce: str | None = None
    rec: str | None = None
    dir: str | None = None
    run: str | None = None
    echo: str | None = None
    part: str | None = None
    hemi: str | None = None
    space: str | None = None
    cohort: str | None = None
    """Age group of an infant template, as nibabies writes it."""
    res: str | None = None
    den: str | None = None
    desc: str | None = None

    def __post_init__(self) -> None:
        for key, value in self.present().items():
            if not _LABEL.fullmatch(value):
                raise ValueError(f"{key}-{value}: a BIDS label holds letters, digits and + only.")

    def present(self) -> dict[str, str]:
        """Return the entities that the name holds."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def stem(self, *, atlas: str | None = None, **changes: str | None) -> str:
        """Compose a name without suffix and extension.

        Parameters
        ----------
        atlas
            Label of the output-only entity ``atlas``.
        **changes
            Entities to set, or to leave out with None.
        """
        present = replace(self, **changes).present()  # type: ignore[arg-type]  # sub stays str
        names = [field.name for field in fields(self)]
        if atlas is not None:
            present["atlas"] = atlas
            names.insert(names.index("res"), "atlas")
        return "_".join(f"{key}-{present[key]}" for key in names if key in present)

    @property
    def run_stem(self) -> str:
        """Name of the acquisition: what all that fMRIPrep made of one run share.

        The other entities (`OF_A_DERIVATIVE`) say what was made of it. fMRIPrep 25.2 writes
        ``part-mag`` into the volumes of a multi-echo run and not into its CIFTI series.
        """
        return self.stem(**dict.fromkeys(OF_A_DERIVATIVE))


def split_name(filename: str) -> tuple[dict[str, str], str, str] | None:
    """Split a name into its entities, suffix and extension (all after the first dot).

    Returns
    -------
    None where the name is not ``sub-<label>[_<key>-<label>…]_<suffix>.<extension>``: a
    label with a hyphen, a word without a key, a key that occurs twice.
    """
    parts = split_labels(filename)
    return parts if parts and parts[0] and filename.startswith("sub-") else None


@lru_cache(maxsize=1 << 14)  # every series of a folder is matched against all its names
def split_labels(filename: str) -> tuple[dict[str, str], str, str] | None:
    """Split a name as `split_name` does, also one of several participants: ``task-x_bold.json``.

    Returns
    -------
    None where the name is not ``[<key>-<label>_…]<suffix>.<extension>``.
    """
    *words, ending = filename.split("_")
    pairs = [_PAIR.fullmatch(word) for word in words]
    last = _ENDING.fullmatch(ending)
    if last is None or None in pairs:
        return None
    entities = {pair[1]: pair[2] for pair in pairs if pair is not None}
    return (entities, last[1], last[2]) if len(entities) == len(words) else None


@lru_cache(maxsize=1 << 14)  # every series of a folder is matched against all its names
def parse_name(filename: str) -> tuple[Entities, str, str] | None:
    """Parse a name that holds no entity but those of `Entities`.

    Returns
    -------
    Entities, suffix (``bold``), extension (``.nii.gz``); None if the name is anything else.
    """
    parts = split_name(filename)
    if parts is None:
        return None
    labels, suffix, extension = parts
    if set(labels) - {f.name for f in fields(Entities)}:
        return None
    return Entities(**labels), suffix, extension


def same_run_label(one: str, other: str) -> bool:
    """Tell whether two run labels name the same run: ``1`` and ``01`` do."""
    if one.isdecimal() and other.isdecimal():
        return int(one) == int(other)
    return one == other


def why_no_label(text: str) -> str:
    """Say why a text is no BIDS label; empty: it is one."""
    if shown_name(text) != text:
        return "it is not UTF-8, or holds characters that cannot be shown"
    if "-" in text:
        return "a label holds no hyphen"
    wrong = " ".join(sorted(set(re.sub(r"[0-9A-Za-z+]", "", text))))
    if wrong:
        return f"a label holds letters, digits and + only, found {wrong}"
    return "" if text else "the label is empty"


def why_strange(filename: str) -> str:
    """Say what `parse_name` does not understand of a name: the first fault in it."""
    *words, ending = filename.split("_")
    seen: set[str] = set()
    for number, word in enumerate(words):
        key, hyphen, label = word.partition("-")
        shown = shown_name(word)
        if number == 0 and key != "sub":
            return f"it begins with {shown}, not with sub-<label>"
        if not hyphen:
            return f"{shown} is no <entity>-<label>"
        if why := why_no_label(label):
            return f"{shown}: {why}"
        if key not in {f.name for f in fields(Entities)}:
            return f"{shown_name(key)}-: an entity that BOLD does not have, or not in lower case"
        if key in seen:
            return f"{key}- stands in it twice"
        seen.add(key)
    return f"it ends in {shown_name(ending)}, not in lower case"


def shown_name(name: str) -> str:
    """Return a name as text that can be shown: escapes for what is not UTF-8, or no character."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
