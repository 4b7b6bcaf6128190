"""Errors of the app. Those of an invocation carry the exit code; scan errors end one scan only.

Exit codes are those of the BIDS Apps execution specification; `model.cli.program` has the table.
"""

from __future__ import annotations

from model.errors import SemantoksError


class AppError(SemantoksError):
    """The whole invocation cannot go on."""


class OptionsError(AppError):
    """Options that are wrong or exclude one another."""

    exit_code = 2


class InputError(AppError):
    """The input is not an fMRIPrep derivative that can be used."""

    exit_code = 16


class NothingSelectedError(AppError):
    """The filters select no scan."""

    exit_code = 18


class NeverMadeError(AppError):
    """fMRIPrep was run at a level that writes no BOLD series or no confounds."""

    exit_code = 66


class OutputError(AppError):
    """The output folder cannot be written."""

    exit_code = 73


class AtlasError(AppError):
    """The atlas is absent, incomplete, in another order, or for another space."""

    exit_code = 78


class WeightsError(AppError):
    """Weights cannot be fetched, or are not those that they should be."""

    exit_code = 78


class WorkerError(AppError):
    """Processes that should share the work cannot be started."""

    exit_code = 78


class SchedulerError(AppError):
    """The cluster's scheduler is absent or refuses a job."""

    exit_code = 78


COPY_AGAIN = "Copy the file again, or rerun fMRIPrep for this scan."
"""What helps where a file of a scan is damaged"""


class ScanError(SemantoksError):
    """One scan cannot be processed; the others go on. Status ``failed``."""


class ScanExcludedError(SemantoksError):
    """One scan is deliberately not embedded, such as too short. Status ``excluded``."""
