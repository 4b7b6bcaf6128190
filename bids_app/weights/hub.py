"""What the model hub says of a file: at which revision, how large, with which hash and licence.

The only module that needs ``huggingface_hub``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bids_app.errors import WeightsError
from bids_app.weights.transfer import REFUSED, WHO
from model.errors import some

REPOSITORY = "SamGijsen/Brain-Semantoks"
HUB = "https://huggingface.co"
FOLDERS = {
    "published": "",
    "published:seed2": "second_random_seed/",
    "published:seed3": "third_random_seed/",
}
"""Weights to their folder in the repository; each holds one ``.pth``. Of the three pretraining
seeds of the paper the first lies at the top."""
BRANCH = "main"
"""Asked for its newest commit where no revision is given. None is pinned here: where this was
written, the hub was out of reach, and a commit or a hash is not made up."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of the repository at one commit."""

    endpoint: str
    """Of the hub, or of a mirror that speaks its paths"""
    path: str
    """In the repository"""
    revision: str
    """The commit"""
    sha256: str
    n_bytes: int | None
    licence: str | None
    """As the repository states it; None: it states none"""

    @property
    def page(self) -> str:
        """Address of the repository."""
        return f"{self.endpoint}/{REPOSITORY}"

    @property
    def url(self) -> str:
        """Address of the file, which never changes."""
        return f"{self.page}/resolve/{self.revision}/{quote(self.path)}"


def library() -> Any:
    """Return ``huggingface_hub``.

    Raises
    ------
    WeightsError
        It is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as err:
        raise WeightsError(
            "the model hub is reached through huggingface_hub, which is not installed.",
            hint="In the checkout: pip install '.[hub]'; or fetch the file elsewhere, and give it "
            "by --from FILE --sha256 HASH.",
        ) from err
    return huggingface_hub


def ask_hub(weights: str, *, revision: str | None, endpoint: str | None) -> HubFile:
    """Ask the hub for the file of some weights.

    Parameters
    ----------
    weights
        Of `FOLDERS`.
    revision
        Commit, tag or branch; None: `BRANCH`.
    endpoint
        Address of a mirror that speaks the hub's paths; None: the hub (``$HF_ENDPOINT``).

    Raises
    ------
    WeightsError
        The hub cannot be asked, or has no such file, or tells no hash of it.
    """
    hub = library()
    asked = revision or BRANCH
    api = hub.HfApi(endpoint=endpoint)
    try:
        found = api.model_info(REPOSITORY, revision=asked, files_metadata=True)
        where = f"{api.endpoint}/{REPOSITORY}, revision {found.sha}"
        file = _the_file(found.siblings or [], FOLDERS[weights], where=where)
        n_bytes, sha256 = (file.lfs.size, file.lfs.sha256) if file.lfs else (None, None)
        if sha256 is None:  # a mirror may tell it with the file alone
            url = hub.hf_hub_url(
                REPOSITORY, file.rfilename, revision=found.sha, endpoint=api.endpoint
            )
            told = hub.get_hf_file_metadata(url)
            n_bytes, sha256 = told.size, told.etag
    except WeightsError:
        raise
    except Exception as err:  # the client's or the network's, whatever it is
        code = getattr(getattr(err, "response", None), "status_code", None)
        raise WeightsError(
            f"{api.endpoint}/{REPOSITORY}, revision {asked}: the model hub cannot be asked "
            f"({_first_line(err)}).",
            hint=WHO
            if code in REFUSED
            else "Without internet: fetch the file elsewhere and give it by --from FILE --sha256 "
            "HASH, with the hash that the hub's page of the file shows.",
        ) from err
    if not (found.sha and re.fullmatch(r"[0-9a-f]{64}", sha256 or "")):
        raise WeightsError(f"{where}: tells no commit, or no sha256 of {file.rfilename}.")
    return HubFile(
        endpoint=str(api.endpoint),
        path=file.rfilename,
        revision=found.sha,
        sha256=str(sha256),
        n_bytes=n_bytes,
        licence=_licence(found),
    )


def _the_file(files: list[Any], folder: str, *, where: str) -> Any:
    """Return the one ``.pth`` of a folder."""
    inside = [one for one in files if one.rfilename.rpartition("/")[0] == folder.rstrip("/")]
    found = [one for one in inside if one.rfilename.endswith(".pth")]
    if len(found) != 1:
        names = some([one.rfilename for one in found or files]) or "nothing"
        raise WeightsError(
            f"{where}: expected one .pth in {folder or 'the top folder'}, found {names}.",
            hint="Of another layout of that repository: fetch the file, and give it by --from.",
        )
    return found[0]


def _licence(found: Any) -> str | None:
    """Return the licence that the repository's card states, or its tags do."""
    stated = getattr(found.card_data, "license", None)
    tags = (tag.partition(":") for tag in found.tags or ())
    of_tags = next((value for key, _, value in tags if key == "license"), None)
    return str(stated or of_tags) if stated or of_tags else None


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]
