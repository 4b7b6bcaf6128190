"""``python -m bids_app``."""

from bids_app.cli import main

main(prog_name="semantoks")
