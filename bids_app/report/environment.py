"""The templates of pages: how they are opened, and what all of them have."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from bids_app import __version__

if TYPE_CHECKING:
    from jinja2 import Environment


def open_templates(package: str) -> Environment:
    """Open the templates of a package; those of this one stand beside them, below ``report/``."""
    # Here, since no scan that is embedded needs it.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined

    shared = PrefixLoader({"report": PackageLoader("bids_app.report")})
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package), shared]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"version": __version__, "made_with": made_with(package)}
    templates.filters["number"] = lambda value, form: format(value, form)
    return templates


@cache
def made_with(package: str) -> str:
    """Return what the head of a package's pages says of the program that made them.

    It differs with the version and with every template of the package, or shared by all: of
    pages that are there it tells whether they would look the same today.
    """
    digest = hashlib.sha256(__version__.encode())
    for owner in dict.fromkeys((package, "bids_app.report")):
        folder = files(owner).joinpath("templates")
        for template in sorted(folder.iterdir(), key=lambda one: one.name):
            digest.update(f"\0{owner}/{template.name}\0".encode() + template.read_bytes())
    return f'<meta name="semantoks:made-with" content="{digest.hexdigest()}">'
