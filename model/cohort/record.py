"""How a scan ended: the one record of it, which lies beside its outputs; read back everywhere."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from model.cohort.names import STATUS
from model.files.faults import FileError
from model.files.read import read_json
from model.files.write import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Status = Literal["embedded", "excluded", "failed"]

_KEYS = {
    "status": "Status",
    "reason": "Reason",
    "entities": "Entities",
    "source": "Source",
    "configuration": "ConfigurationHash",
    "software": "SoftwareVersion",
    "inputs": "Inputs",
    "outputs": "Outputs",
    "qc": "QC",
}
"""Key in the file by field, in its order."""
_NEEDED: dict[str, type] = {
    "Status": str,
    "Reason": str,
    "Entities": dict,
    "Source": str,
    "ConfigurationHash": str,
    "SoftwareVersion": str,
    "Inputs": dict,
    "Outputs": dict,
    "QC": dict,
}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ScanRecord:
    """What a status file says."""

    status: Status
    reason: str
    """Why it is not embedded; empty where it is."""
    entities: Mapping[str, str]
    """As in the name of its source, such as ``{"sub": "01", "task": "rest"}``"""
    source: str
    """BIDS URI of its image or file of series"""
    configuration: str
    """``SETTINGS-ATLAS``: what determines its numbers; empty if it stopped before that is known"""
    software: str = ""
    """Name and version of what wrote it"""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Size and modification time of the files that it was made from, by name"""
    outputs: Mapping[str, Digest] = field(default_factory=dict)
    """Size and hash of everything that was written about it, by name"""
    qc: Mapping[str, Any] = field(default_factory=dict)
    """Quality numbers and flags; empty unless embedded"""

    @property
    def settings(self) -> str:
        """First part of the configuration: scans that differ in it must not be mixed."""
        return self.configuration.partition("-")[0]

    def differing(self, folder: Path) -> list[str]:
        """Name its outputs that are gone from the folder of its status, or are not as written."""
        return [name for name, written in self.outputs.items() if not written.is_of(folder / name)]

    def as_json(self) -> dict[str, Any]:
        """Return what the status file holds."""
        content = {key: getattr(self, name) for name, key in _KEYS.items()}
        content["Outputs"] = {
            name: {"Size": digest.size, "SHA256": digest.sha256}
            for name, digest in self.outputs.items()
        }
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ScanRecord:
        """Take what a status file holds, as `read_record` has found it sound."""
        fields = {name: content[key] for name, key in _KEYS.items()}
        fields["outputs"] = {
            name: Digest(size=digest["Size"], sha256=digest["SHA256"])
            for name, digest in content["Outputs"].items()
        }
        return cls(**fields)


def read_record(path: Path) -> ScanRecord:
    """Read a status file.

    Raises
    ------
    FileError
        It is absent or damaged, holds what no status can, or is that of another scan.
    """
    content = read_json(path, needs=_NEEDED)
    scan = path.name.removesuffix(STATUS)
    _demand(path, "Status", content["Status"], _is_status, " or ".join(get_args(Status)))
    for key, value in content["Entities"].items():
        _demand(path, f"Entities, {key}", value, _is_text, "a label")
    _demand(path, "Entities", content["Entities"], _are_of(scan), f"those of {scan}{STATUS}")
    for name, stamp in content["Inputs"].items():
        _demand(path, f"Inputs, {name}", stamp, _is_text, "text")
    for name, digest in content["Outputs"].items():
        _demand(path, "Outputs", name, _begins(scan), f"a file's name that begins with {scan}")
        _demand(path, f"Outputs, {name}", digest, _is_digest, "Size and SHA256")
    for key, value in content["QC"].items():
        _demand(path, f"QC, {key}", value, _is_measure, "a finite number, text, or texts")
    _demand(path, "QC, flags", content["QC"].get("flags", {}), _are_texts, "texts by code")
    return ScanRecord.from_json(content)


def _demand(path: Path, key: str, value: Any, holds: Callable[[Any], bool], kind: str) -> None:
    if not holds(value):
        raise FileError(path, f"expected {kind}, found {value!r:.60}", place=f"key {key}")


def _is_status(value: str) -> bool:
    return value in get_args(Status)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_of(scan: str) -> Callable[[dict[str, str]], bool]:
    """Tell whether entities are those of a name: a status in another's place would be its row."""
    named = [part for part in scan.rstrip("_").split("_") if not part.startswith("atlas-")]

    def same(entities: dict[str, str]) -> bool:
        pairs = [f"{key}-{label}" for key, label in entities.items() if key != "desc"]
        return sorted(pairs) == sorted(named) and "sub" in entities

    return same


def _begins(scan: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(scan) and "/" not in name and _is_text(name)


def _is_digest(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"Size", "SHA256"}:
        return False
    size, sha256 = value["Size"], value["SHA256"]
    is_size = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return is_size and isinstance(sha256, str) and _SHA256.fullmatch(sha256) is not None


def _is_measure(value: Any) -> bool:
    if isinstance(value, int | float):
        return not isinstance(value, bool) and math.isfinite(value)
    if isinstance(value, list):
        return all(_is_text(one) for one in value)
    return _is_text(value) or _are_texts(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, (*value, *value.values())))
