"""Asking the Hugging Face hub for a pinned revision, so that an answer comes soon and in words."""

TIMEOUT_SECONDS = 10


def check_hub(kind: str, identifier: str, revision: str) -> None:
    """Ask the hub for a pinned revision, within seconds. Raises ValueError where it cannot be had.

    `kind` is "model" or "data" (the configuration's section).
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    repo_type = "model" if kind == "model" else "dataset"
    marker = "config.json" if kind == "model" else "README.md"
    if isinstance(try_to_load_from_cache(identifier, marker, revision=revision, repo_type=repo_type), str):
        return
    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        HfApi().repo_info(identifier, repo_type=repo_type, revision=revision, timeout=TIMEOUT_SECONDS)
    except Exception as error:
        raise ValueError(
            f"{kind}.id: the hub gave no {repo_type} {identifier!r} at revision {revision} "
            f"({type(error).__name__}); check the network and the name, or download it elsewhere and set "
            f"{kind}: {{source: local, path: FOLDER}}"
        ) from error
