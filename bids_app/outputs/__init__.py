"""What is written: its names, columns and sidecars, which other rooms of the app take from here.

Columns of a scan's tables are in `derivatives` and `embedding`, of the cohort's in `group`, of
task blocks in `task_tables`; names and places in `paths`, `dataset` and `status`; `scan_tables`
reads a scan back. What is read back without images is defined in `model.cohort.names` and used
from there. docs/outputs.md is the contract. It never computes a number and reads no input.
"""

__all__ = (
    "dataset",
    "derivatives",
    "differences",
    "embedding",
    "group",
    "paths",
    "pictures",
    "scan_tables",
    "status",
    "task_tables",
)
