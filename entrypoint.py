#!/usr/bin/env python3
"""The door of the container and of a checkout: ``python entrypoint.py BIDS OUT participant``."""

from bids_app.cli.app import main

if __name__ == "__main__":
    main(prog_name="semantoks")
