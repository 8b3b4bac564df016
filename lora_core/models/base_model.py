"""The name by which other packages find the base model of an adapter: its id on the hub, or a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lora_core.records import read_json, write_json
from lora_core.typed_records import name_damaged_file

# The file of a prepared model that says which model of the hub it equals.
PUBLISHED = "base_model.json"


@dataclass(frozen=True)
class BaseModel:
    """A base model as PEFT's configuration names it; the revision of a folder is None."""

    name: str
    revision: str | None = None

    def to_peft(self) -> dict[str, object]:
        """Return the fields of `adapter_config.json`."""
        fields = {"base_model_name_or_path": self.name, "revision": self.revision}
        return {name: value for name, value in fields.items() if value is not None}


def write_published(folder: Path, model: BaseModel) -> None:
    """Say in a prepared model's folder that it equals a model of the hub."""
    write_json(folder / PUBLISHED, model.to_peft())


def base_model(folder: Path) -> BaseModel:
    """Return a prepared model's name: that on the hub if the folder has one, else the folder's absolute path."""
    path = folder / PUBLISHED
    if not path.exists():
        return BaseModel(os.path.abspath(folder))
    with name_damaged_file(path):
        fields = read_json(path)
        return BaseModel(str(fields["base_model_name_or_path"]), fields.get("revision"))
