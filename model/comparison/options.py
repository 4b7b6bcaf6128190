"""What is compared, beside what a probe asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from model.errors import ConfigError
from model.files.settings import Option, Strict


@dataclass(frozen=True, kw_only=True)
class ImportanceOptions(Strict):
    """Which tables of single networks are compared."""

    of: Annotated[
        Literal["scans", "blocks"],
        Option("--of", "Tables of `semantoks importance`, or of `semantoks blocks --networks`."),
    ] = "scans"


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Strict):
    """Which methods are compared over tasks."""

    compared: Annotated[
        str, Option("--compared", "Method that others are compared with.", metavar="NAME")
    ] = "probe"
    methods: Annotated[
        tuple[str, ...],
        Option(
            "--method",
            "Such as probe or fc-svm; repeatable. Default: all that there are.",
            metavar="NAME",
        ),
    ] = ()
    versus: Annotated[
        Literal["best", "each"],
        Option("--versus", "Of the others the best in each task, or each: all are corrected for."),
    ] = "best"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"methods {', '.join(self.methods)}: expected each once.")
        if self.methods == (self.compared,):
            raise ConfigError(
                f"methods {self.compared}: it is the one that others are compared with.",
                hint="Give --method of another, or --compared.",
            )
