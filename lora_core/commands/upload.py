"""Upload a prepared folder to the Hugging Face hub; every way in which that fails is one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lora_core.models.source_folder import one_line

if TYPE_CHECKING:
    from lora_core.commands.publish import Upload


def hub_address() -> str:
    """Return the address of the hub, which the environment variable HF_ENDPOINT sets."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def upload_folder(upload: Upload, *, private: bool, update: bool) -> str:
    """Create the repository, upload the folder in it, and return the repository's address.

    With `update` the repository may exist; its files are replaced by those of the folder. Raise ValueError with one
    sentence for each failure.
    """
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise ValueError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it and run the same command again")
    if get_token() is None:
        raise ValueError(
            f"there is no token for {hub_address()}; run `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    api = HfApi()
    with _one_sentence(upload.repository, "", update):
        address = api.create_repo(upload.repository, private=private or None, exist_ok=update)
    _name_owner(upload, address.repo_id)
    created = "" if update else f"; {address.repo_id} was created, so repeat the command with --update"
    with _one_sentence(address.repo_id, created, update):
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=upload.folder,
            commit_message=upload.title,
            delete_patterns="*" if update else None,  # an old config.json next to an adapter would hide it
        )
    return str(address)


def _name_owner(upload: Upload, repository: str) -> None:
    """Put the repository's full name into the card, whose calls have a placeholder if the user named no owner."""
    from lora_core.commands.publish import CARD, full_name

    card = upload.folder / CARD
    text = card.read_text(encoding="utf-8").replace(repr(full_name(upload.repository)), repr(repository))
    card.write_text(text, encoding="utf-8")


@contextmanager
def _one_sentence(repository: str, created: str, update: bool) -> Iterator[None]:
    """Turn whatever the hub's client raises into a ValueError with one sentence, which ends with `created`."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{_explained(error, repository, update)}{created}") from error


def _explained(error: Exception, repository: str, update: bool) -> str:
    hub, status = hub_address(), _status(error)
    message = f" ({one_line(error)})"
    match status:
        case 401:
            return f"{hub} does not accept the token; run `hf auth login` again, or set HF_TOKEN to a valid one"
        case 403:
            return f"the token may not write to {repository} on {hub}; use one with write access, or another --repo"
        case 409 if not update:
            return f"{repository} exists on {hub}; choose another --repo, or replace its files with --update"
        case None if isinstance(error, ValueError):
            return f"{hub} cannot take the upload{message}; nothing of it is visible yet"
        case None if type(error).__name__ in ("ConnectError", "ConnectTimeout"):
            return f"{hub} cannot be reached{message}; check the network and HF_ENDPOINT"
        case None:
            return f"the upload to {hub} failed{message}; check the network"
    return f"{hub} answered with status {status}{message}; try again later"


def _status(error: BaseException | None) -> int | None:
    """Return the HTTP status behind an error or one of its causes; None if there was no answer."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None
