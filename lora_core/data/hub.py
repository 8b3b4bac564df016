"""Ask the Hugging Face hub for a pinned revision, so that a problem is reported early and in one sentence."""

TIMEOUT_SECONDS = 10


def check_hub(section: str, identifier: str, revision: str) -> None:
    """Check within seconds that the hub, or the local cache, has a pinned revision.

    `section` of the configuration is "model" or "data". Raise ValueError if the revision cannot be downloaded.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    repo_type = "model" if section == "model" else "dataset"
    marker = "config.json" if section == "model" else "README.md"
    if isinstance(try_to_load_from_cache(identifier, marker, revision=revision, repo_type=repo_type), str):
        return
    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        HfApi().repo_info(identifier, repo_type=repo_type, revision=revision, timeout=TIMEOUT_SECONDS)
    except Exception as error:
        raise ValueError(
            f"{section}.id: cannot get the {repo_type} {identifier!r} at revision {revision} from the hub "
            f"({type(error).__name__}); check the network and the name, or download it elsewhere and set "
            f"{section}: {{source: local, path: FOLDER}}"
        ) from error
