"""What is compared, beside what a probe asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from model.files.settings import Option, Strict


@dataclass(frozen=True, kw_only=True)
class ImportanceOptions(Strict):
    """Which tables of single networks are compared."""

    of: Annotated[
        Literal["scans", "blocks"],
        Option("--of", "Tables of `semantoks importance`, or of `semantoks blocks --networks`."),
    ] = "scans"
