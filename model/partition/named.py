"""The partitions that come with the package, by name; a recipe joins several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import ConfigError
from model.networks import parcels
from model.partition.groups import NETWORK_GROUPS, Group
from model.partition.table import TABLES, read_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model.networks import Parcel

_SUBCORTEX = {"lAMY": "AMY", "mAMY": "AMY", "aGP": "GP", "pGP": "GP"}
"""Structures of which the atlas numbers parts as if they were structures."""


def partition(words: Sequence[str]) -> tuple[Group, ...]:
    """Join the groups of several partitions.

    Parameters
    ----------
    words
        Each a name of `PARTITIONS` or the path of a table (`model.partition.table`); with
        ``:2`` behind it, every group of it has two tokens.

    Raises
    ------
    ConfigError
        There is no such partition, or its table cannot be read.

    Examples
    --------
    >>> groups = partition(["networks", "brain:7"])
    >>> [row for group in groups for row in group.rows][7:11]
    ['Subcortical', 'Cerebellum', 'Brain1', 'Brain2']
    """
    return tuple(group for word in words for group in _one(word))


def _one(word: str) -> tuple[Group, ...]:
    name, colon, count = word.rpartition(":")
    if not colon or not count.isdecimal():
        name, count = word, ""
    if Path(name).suffix in TABLES:
        groups = read_groups(Path(name))
    elif name in PARTITIONS:
        groups = PARTITIONS[name]()
    else:
        raise ConfigError(
            f"groups {word!r:.80}: no such partition.",
            hint=f"Expected one of {', '.join(PARTITIONS)}, or the path of a table (.tsv) with "
            "the columns parcel and group; several tokens to each group: brain:7. The 17 networks "
            "are not in the parcels' names: docs/partitions.md makes a table of them.",
        )
    return tuple(replace(g, tokens=int(count)) for g in groups) if count else groups


def _networks() -> tuple[Group, ...]:
    return NETWORK_GROUPS


def _brain() -> tuple[Group, ...]:
    return (Group("Brain", tuple(range(len(parcels())))),)


def _hemispheres() -> tuple[Group, ...]:
    return _grouped(lambda parcel: f"{parcel.network}{parcel.hemisphere}")


def _components() -> tuple[Group, ...]:
    return _grouped(lambda parcel: f"{parcel.network}{_component(parcel)}{parcel.hemisphere}")


def _parcels() -> tuple[Group, ...]:
    return _grouped(
        lambda parcel: "".join(c for c in parcel.name.removeprefix("7Networks_") if c.isalnum())
    )


PARTITIONS: dict[str, Callable[[], tuple[Group, ...]]] = {
    "brain": _brain,
    "networks": _networks,
    "hemispheres": _hemispheres,
    "components": _components,
    "parcels": _parcels,
}
"""1, 9, 17, 63 and 457 groups, from the parcels' names."""


def _grouped(name_of: Callable[[Parcel], str]) -> tuple[Group, ...]:
    """Put parcels of one name together, groups in the order of their first parcels."""
    members: dict[str, list[int]] = {}
    for parcel in parcels():
        members.setdefault(name_of(parcel), []).append(parcel.index - 1)
    return tuple(Group(name, tuple(columns)) for name, columns in members.items())


def _component(parcel: Parcel) -> str:
    """Return the part of a network that a parcel's name tells: ``PFC`` of Default_PFC_3."""
    if parcel.network == "Cerebellum":
        return ""
    if parcel.network == "Subcortical":
        structure = parcel.name.split("-")[0]
        return _SUBCORTEX.get(structure, structure)
    _, _, _, *component, _ = parcel.name.split("_")
    return "".join(component)
