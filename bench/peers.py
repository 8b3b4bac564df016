"""What users would otherwise pick, set up as its documentation says: HF Trainer, PEFT, loralib."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core.data import batches as data
from lora_core.methods import registry as methods
from lora_core.models import model as models
from lora_core.records import read_json

TARGETS = ["query", "value"]
SETTINGS: dict[str, Any] = {"kind": "lora", "rank": 8, "alpha": 8.0, "targets": TARGETS, "freeze_a": False}


def plain(model: Path, labels: list[str]) -> nn.Module:
    """The model as transformers gives it."""
    return models.load(model, labels, torch.Generator().manual_seed(0))


def by_peft(model: Path, labels: list[str]) -> nn.Module:
    """The model with PEFT's LoRA on query and value, and the head trained."""
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=SETTINGS["rank"],
        lora_alpha=SETTINGS["alpha"],
        target_modules=TARGETS,
        lora_dropout=0.0,
    )
    return get_peft_model(plain(model, labels), config)


def by_loralib(model: Path, labels: list[str]) -> nn.Module:
    """The model with loralib's layers on query and value, and the head trained."""
    return methods.adapt(plain(model, labels), SETTINGS | {"kind": "loralib"}, torch.Generator().manual_seed(0))


class Rows(torch.utils.data.Dataset):
    """Tokenised examples as a map-style data set with the columns HF Trainer wants."""

    def __init__(self, examples: data.Examples) -> None:
        self.rows = []
        for i in range(len(examples)):
            part = slice(examples.offsets[i], examples.offsets[i + 1])
            row = {"input_ids": examples.tokens[part].tolist(), "labels": examples.labels[i].item()}
            row["attention_mask"] = [1] * len(row["input_ids"])
            if examples.types is not None:
                row["token_type_ids"] = examples.types[part].tolist()
            self.rows.append(row)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return self.rows[i]


def trainer(model: Path, folder: Path, hyper: dict[str, Any], out: Path, *, sampling: str, precision: str) -> Any:
    """HF Trainer with PEFT's LoRA over the same tokens, padded to the longest of a batch (its usual collator)."""
    from transformers import AutoTokenizer, DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=hyper["batch_size"],
        num_train_epochs=1,
        learning_rate=hyper["learning_rate"],
        weight_decay=hyper["weight_decay"],
        warmup_steps=hyper["warmup_ratio"],
        max_grad_norm=hyper["max_grad_norm"],
        train_sampling_strategy=sampling,
        bf16=precision == "bf16",
        use_cpu=True,
        dataloader_pin_memory=False,
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=1,
    )
    peer = Trainer(
        model=by_peft(model, read_json(folder / "card.json")["labels"]),
        args=arguments,
        train_dataset=Rows(data.load(folder / "train.safetensors")),
        eval_dataset=Rows(data.load(folder / "validation.safetensors")),
        data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(model)),
    )
    peer.remove_callback(PrinterCallback)  # it prints among our output, on its clock
    return peer


def epoch_seconds(model: Path, folder: Path, hyper: dict[str, Any], out: Path, **how: str) -> float:
    """Seconds of `Trainer.train()` for one epoch, its construction left out."""
    peer = trainer(model, folder, hyper, out, **how)
    begun = time.perf_counter()
    peer.train()
    return time.perf_counter() - begun
