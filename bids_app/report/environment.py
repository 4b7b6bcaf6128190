"""The templates of pages: how they are opened, and what all of them have."""

from __future__ import annotations

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
    templates.globals["version"] = __version__
    templates.filters["number"] = lambda value, form: format(value, form)
    return templates
