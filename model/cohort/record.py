"""How a scan ended: the one record of it, which lies beside its outputs; read back everywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from model.files.read import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    "QC": dict,
}


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
    outputs: Sequence[str] = ()
    """Names of what was written about it"""
    qc: Mapping[str, Any] = field(default_factory=dict)
    """Quality numbers and flags; empty unless embedded"""

    @property
    def settings(self) -> str:
        """First part of the configuration: scans that differ in it must not be mixed."""
        return self.configuration.partition("-")[0]

    def as_json(self) -> dict[str, Any]:
        """Return what the status file holds."""
        return {key: getattr(self, name) for name, key in _KEYS.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ScanRecord:
        """Take what a status file holds."""
        return cls(**{name: content[key] for name, key in _KEYS.items() if key in content})


def read_record(path: Path) -> ScanRecord:
    """Read a status file.

    Raises
    ------
    FileError
        It is absent or damaged.
    """
    return ScanRecord.from_json(read_json(path, needs=_NEEDED))
