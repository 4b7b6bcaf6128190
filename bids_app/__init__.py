"""fMRIPrep derivatives in, BIDS-Derivatives with embeddings out."""

from importlib import import_module

# Other projects install a top-level package `model` too; theirs must not be taken for ours
# (docs/decisions/0001-package-names.md).
_model = import_module("model")
if getattr(_model, "DISTRIBUTION", None) != "semantoks":
    _found = getattr(_model, "__file__", None) or list(getattr(_model, "__path__", []))
    raise ImportError(
        f"semantoks needs its own package 'model', but Python found {_found}. "
        "Install semantoks in an environment of its own, and do not start it from a "
        "folder that holds a model.py."
    )
__version__: str = _model.__version__
