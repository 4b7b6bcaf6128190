"""``python -m bids_app``."""

from bids_app.cli.app import main

if __name__ == "__main__":
    main(prog_name="semantoks")
