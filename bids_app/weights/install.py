"""Offer the weights of the paper with source, hash and licence; import them under a name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urlsplit

from bids_app.embedder import import_weights
from bids_app.errors import OptionsError, OutputError, WeightsError
from bids_app.weights.hub import HUB, REPOSITORY, ask_hub, library
from bids_app.weights.transfer import fetched
from model.errors import CheckpointError
from model.files.content import not_fetched
from model.files.faults import faults_as
from model.files.home import checkpoint_folder
from model.files.write import file_sha256
from model.spec import InputSpec, read_card

if TYPE_CHECKING:
    from bids_app.weights.hub import HubFile
    from model.spec import CheckpointCard

CONTRACT = InputSpec(normalization="zscore")
"""What the weights of the paper take: windows of 100 samples of 2.0 s in patches of 20, z-scored
within the scan, of the band from 0.01 to 0.1 Hz."""
PAPER = "Gijsen, Schulz & Ritter, Brain-Semantoks, arXiv 2512.11582"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A file that can be had, and who vouches for it."""

    weights: str
    """Such as ``published:seed2``"""
    place: str
    """Where its bytes come from: an address, or a path"""
    sha256: str
    n_bytes: int | None
    hub: HubFile | None
    """What the hub says of it; None: it was not asked, and the hash is the user's word"""

    def lines(self) -> list[str]:
        """Tell source, hash and licence position, one a line."""
        hub = self.hub
        size = "" if self.n_bytes is None else f", {self.n_bytes / 1e6:,.0f} MB"
        by = "as the hub states" if hub else "as given"
        revision = [f"  revision  {hub.revision}"] if hub else []
        licence = "unknown here, the hub was not asked" if hub is None else hub.licence
        return [
            f"Weights of the paper ({PAPER}): {self.weights}",
            f"  file      {self.place}{size}",
            f"  sha256    {self.sha256}, {by}",
            *revision,
            f"  page      {hub.page if hub else f'{HUB}/{REPOSITORY}'}",
            f"  licence   {licence or 'none is stated there'}",
            "They are their authors', not part of semantoks, and its licence does not cover them. "
            "Where no licence is stated,",
            "all rights are reserved: to pass them on, or weights made of them, ask the authors.",
        ]

    def source(self) -> str:
        """Return what the card says."""
        if self.hub is None:
            return f"{self._name()}, sha256 {self.sha256} (as given)"
        mirror = "" if self.place == self.hub.url else f" (from {self._name()})"
        return f"{self.hub.url}, sha256 {self.sha256}{mirror}"

    def _name(self) -> str:
        """Return the file's name: what follows it in an address may be a secret."""
        path = urlsplit(self.place).path if is_address(self.place) else self.place
        return path.rpartition("/")[2]

    def licence(self) -> str:
        """Return what the card says."""
        if self.hub is None:
            return "unknown (the published weights are not known to carry one)"
        stated = self.hub.licence or "none stated"
        return f"{stated} (at {self.hub.page}, revision {self.hub.revision})"


def make_offer(
    weights: str, *, origin: str | None, revision: str | None, sha256: str | None
) -> Offer:
    """Find out what there is to be had.

    Parameters
    ----------
    weights
        Of `bids_app.weights.hub.FOLDERS`.
    origin
        A file, the address of a file (``.pth``), or that of a mirror which speaks the hub's
        paths; None: the hub.
    revision
        Commit, tag or branch of the hub's repository; None: its newest commit.
    sha256
        What the file must hash to; None: as the hub says.

    Raises
    ------
    OptionsError
        That is no hash; or a revision, where the hub is not asked.
    WeightsError
        The hub is asked and does not answer, or there is no such file, or the hashes differ.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise OptionsError(f"--sha256 {sha256:.80}: expected 64 hexadecimal digits.")
    sha256 = sha256.lower() if sha256 else None
    is_mirror = False
    if origin is not None and is_address(origin):
        origin = urldefrag(origin.strip())[0]
        refuse_names(origin)
        is_mirror = not urlsplit(origin).path.lower().endswith((".pth", ".pt"))
    elif origin is not None:
        _refuse_no_file(origin)
    if origin is None or is_mirror or sha256 is None:
        endpoint = str(origin).rstrip("/") if is_mirror else None
        hub = _asked(weights, revision, endpoint, None if is_mirror else origin)
        if sha256 not in (None, hub.sha256):
            raise WeightsError(
                f"{hub.url}: its sha256 is {hub.sha256} there, and --sha256 asks for {sha256}."
            )
        place = hub.url if origin is None or is_mirror else origin
        return Offer(weights=weights, place=place, sha256=hub.sha256, n_bytes=hub.n_bytes, hub=hub)
    if revision is not None:
        raise OptionsError("--revision is the hub's, which is not asked where --sha256 is given.")
    return Offer(weights=weights, place=str(origin), sha256=sha256, n_bytes=None, hub=None)


def is_address(origin: str) -> bool:
    """Tell an address from a path."""
    return re.match(r"https?://", origin, re.IGNORECASE) is not None


def refuse_names(address: str) -> None:
    """Refuse an address with a user and a password, which would stand in messages and logs.

    Raises
    ------
    OptionsError
        It has a user.
    """
    try:
        named = urlsplit(address).username
    except ValueError:  # no address at all: told when it is opened
        return
    if named is not None:
        raise OptionsError(
            "--from: expected an address without a user's name and password.",
            hint="Fetch with a program that knows them, and give what came by --from.",
        )


def _refuse_no_file(origin: str) -> None:
    path = Path(origin)
    found = not_fetched(path)
    hint = "Give the .pth itself, its address, or a mirror's."
    if found:
        hint = "Fetch its content first, with git-annex, datalad or git-lfs."
    elif path.is_dir():
        found = "a folder"
    elif not path.is_file():
        found = "no such file, and no http address"
    elif path.stat().st_size == 0:
        found = "an empty file"
    if found:
        raise WeightsError(
            f"--from {origin}: expected a file of weights, found {found}.", hint=hint
        )


def _asked(
    weights: str, revision: str | None, endpoint: str | None, origin: str | None
) -> HubFile:
    """Ask the hub; where it does not answer, tell the hash of a file that is here."""
    try:
        return ask_hub(weights, revision=revision, endpoint=endpoint)
    except WeightsError as err:
        if origin is None or not Path(origin).is_file():
            raise
        raise WeightsError(
            err.message,
            hint=f"{origin} has sha256 {_hash_of(Path(origin))}: if the hub's page of the file "
            "shows the same, add it by --sha256.",
        ) from err


def _hash_of(path: Path) -> str:
    with faults_as(WeightsError):
        return file_sha256(path)


def installed(weights: str, checkpoints: Path) -> CheckpointCard | None:
    """Return the card of installed weights, which are verified; None: there are none.

    Raises
    ------
    WeightsError
        They are damaged, or something else is in their place.
    """
    folder = checkpoints / checkpoint_folder(weights)
    if not os.path.lexists(folder):
        return None
    try:
        return read_card(folder)
    except CheckpointError as err:
        raise WeightsError(
            err.message, hint=f"Remove {folder}, then install them again: the same command."
        ) from err


def install_weights(offer: Offer, checkpoints: Path, *, heads: int | None) -> CheckpointCard:
    """Fetch, verify and import weights; they appear complete or not at all.

    Parameters
    ----------
    checkpoints
        Folder of installed checkpoints.
    heads
        Attention heads, where neither the file nor its size tells.

    Raises
    ------
    WeightsError
        The file cannot be fetched, is another one, or takes other input than the paper's.
    CheckpointError
        The file is no checkpoint of the published training.
    OutputError, ResultError
        There is no writing to the folder, or no room.
    """
    name = checkpoint_folder(offer.weights)
    _check_writable(checkpoints)
    if not is_address(offer.place):
        path = Path(offer.place)
        found = _hash_of(path)
        if found != offer.sha256:
            raise WeightsError(
                f"{path}: not the file that it should be: expected sha256 {offer.sha256}, found "
                f"{found}.",
                hint="A transfer that was cut off, or other weights than named by --download.",
            )
        return _imported(offer, path, checkpoints / name, heads=heads)
    part = checkpoints / f".{offer.sha256}.incomplete"
    headers = {}
    if offer.hub is not None and offer.place == offer.hub.url:
        headers = library().utils.build_hf_headers()
    with fetched(offer.place, part, sha256=offer.sha256, n_bytes=offer.n_bytes, headers=headers):
        return _imported(offer, part, checkpoints / name, heads=heads)


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise OutputError(
            f"{folder}: cannot be written ({err.strerror}).",
            hint="Name another place by --home or SEMANTOKS_HOME.",
        ) from err


def _imported(offer: Offer, path: Path, folder: Path, *, heads: int | None) -> CheckpointCard:
    return import_weights(
        path,
        folder,
        heads=heads,
        contract=CONTRACT,
        name=checkpoint_folder(offer.weights),
        source=offer.source(),
        licence=offer.licence(),
    )
