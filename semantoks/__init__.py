"""Brain-Semantoks for people with arrays and tables: series in, embeddings out.

Names are loaded when they are first used, and torch with those that need it::

    from semantoks import embed_series, load_embeddings, load_encoder

    embedding = embed_series(values, tr_s=0.8, encoder=load_encoder())
    X, table = load_embeddings("OUT")

The command line is `bids_app`, the method `model`; this package holds names only.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from bids_app import __version__

if TYPE_CHECKING:
    from bids_app.group.load import load_embeddings
    from model.checkpoint import load_encoder
    from model.embed import embed_series
    from model.errors import SemantoksError
    from model.networks import NETWORKS, parcel_names
    from model.series import ParcelSeries, ScanEmbedding

__all__ = (
    "NETWORKS",
    "ParcelSeries",
    "ScanEmbedding",
    "SemantoksError",
    "__version__",
    "embed_series",
    "load_embeddings",
    "load_encoder",
    "parcel_names",
)

if not TYPE_CHECKING:  # a type checker would believe that every name exists
    _HOMES = {
        "NETWORKS": "model.networks",
        "ParcelSeries": "model.series",
        "ScanEmbedding": "model.series",
        "SemantoksError": "model.errors",
        "embed_series": "model.embed",
        "load_embeddings": "bids_app.group.load",
        "load_encoder": "model.checkpoint",
        "parcel_names": "model.networks",
    }

    def __getattr__(name: str) -> object:
        """Load a name from its module."""
        if name not in _HOMES:
            raise AttributeError(f"module 'semantoks' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found

    def __dir__() -> list[str]:
        """Return the public names, loaded or not."""
        return list(__all__)
