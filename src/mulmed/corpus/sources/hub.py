"""Public copies on the Hugging Face hub: one file of a data set, at one commit.

A source's path may be ``hub:owner/name@COMMIT/path/in/the/repository``. The commit is its full hash,
never a branch or a tag, which may move: the same recipe must read the same bytes. The file is kept in
the cache of ``huggingface_hub``; once there it is read without a network.
"""

from __future__ import annotations

from pathlib import Path

from mulmed.errors import MulmedError
from mulmed.recipe import HUB_PATH


def fetch(address: str, where: str) -> Path:
    """The local copy of the file that ``address`` names, downloaded if need be.

    Args:
        where: the recipe key the address comes from, for the error.

    Raises:
        MulmedError: the address is not of that form, or the file can neither be found in the cache nor
            downloaded.
    """
    match = HUB_PATH.fullmatch(address)
    if match is None:
        raise MulmedError(
            f"{address!r} names no file at a pinned commit.",
            where=where,
            remedy="Write hub:OWNER/NAME@COMMIT/FILE with all 40 hexadecimal digits of the commit.",
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            hf_hub_download(match["name"], match["file"], revision=match["commit"], repo_type="dataset")
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise MulmedError(
            f"The hub did not give {match['file']} of {match['name']}: {type(error).__name__}.",
            where=f"{where}: {address}",
            remedy="Check the name, the commit and the network; or download the file yourself "
            "and set `path` to it.",
        ) from error
