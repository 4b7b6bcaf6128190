"""Taking covariates and sites out of features: learned from some people, applied to others."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = npt.NDArray[np.float64]


def learn_residuals(rows: Array, design: Array) -> Callable[[Array, Array], Array]:
    """Regress features on covariates, by least squares.

    Parameters
    ----------
    rows, design
        (S, F) features and (S, C) covariates of those to learn from.

    Returns
    -------
    What gives the residuals (S, F) of others' features and covariates. The mean of those who
    were learned from stays, and so does what their covariates do not vary along.
    """
    centre = design.mean(axis=0)
    slopes, *_ = np.linalg.lstsq(design - centre, rows - rows.mean(axis=0), rcond=None)
    return lambda others, theirs: np.asarray(others - (theirs - centre) @ slopes)


def combat_library() -> Any:
    """Return the class ComBat of combatlearn.

    Raises
    ------
    ConfigError
        The library is not installed.
    """
    try:
        from combatlearn import ComBat
    except ImportError as err:
        raise ConfigError(
            f"harmonization needs the library combatlearn ({err}).",
            hint="In the checkout: pip install '.[harmonize]'",
        ) from err
    return ComBat


def learn_combat(
    rows: Array, sites: Sequence[str], kept: Array | None = None
) -> Callable[..., Array]:
    """Learn ComBat (Johnson et al. 2007) by the library combatlearn: mean and scale of sites.

    Parameters
    ----------
    rows, sites
        (S, F) features and (S,) sites of those to learn from, two of each site at least.
    kept
        (S, C) covariates whose effects stay in the features (Fortin et al. 2018), if any.

    Returns
    -------
    What takes the effects of these sites out of others' features (S, F), given their sites, and
    their covariates if any are kept.

    Raises
    ------
    ConfigError
        The library is not installed.
    """
    library = combat_library()
    # A feature that does not vary has nothing to be taken out of it, nor a scale.
    varies = rows.std(axis=0) > 0
    if not varies.any():
        return lambda others, *_: others.copy()
    combat = library(
        batch=np.asarray(sites),
        method="johnson" if kept is None else "fortin",
        continuous_covariates=kept,
    )

    def apply(others: Array, theirs: Sequence[str], covariates: Array | None = None) -> Array:
        combat.set_params(batch=np.asarray(theirs), continuous_covariates=covariates)
        found = others.copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            found[:, varies] = np.asarray(combat.transform(others[:, varies]))
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of features that hardly vary
        combat.fit(rows[:, varies])
    return apply
