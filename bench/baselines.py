"""What users would otherwise use, set up as its documentation says: HF Trainer, PEFT, loralib."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora_core.data import batches
from lora_core.data.card import read_data_card
from lora_core.data.datasets import TokenizedFiles
from lora_core.methods import full, lora, loralib, registry
from lora_core.methods.settings import MethodSettings
from lora_core.models import model as models
from lora_core.training.spec import Hyperparameters

TARGETS = ("query", "value")
CPU = torch.device("cpu")
RANK = 8
ALPHA = 8
FULL = full.Settings()
LORA = lora.Settings(rank=RANK, alpha=ALPHA, targets=TARGETS)
LORALIB = loralib.Settings(rank=RANK, alpha=ALPHA, targets=TARGETS)


def load_model(folder: Path, labels: Sequence[str] = ()) -> nn.Module:
    """Return the model as transformers loads it, with a head for `labels` (none: regression)."""
    return models.load(folder, labels, torch.Generator().manual_seed(0))


def adapted(folder: Path, settings: MethodSettings) -> nn.Module:
    """Return the model with a method of this project, for a regression."""
    return registry.adapt(load_model(folder), settings, torch.Generator().manual_seed(0))


def peft_model(folder: Path, labels: Sequence[str] = ()) -> nn.Module:
    """Return the model with PEFT's LoRA on query and value, and a trained head."""
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS), lora_dropout=0.0
    )
    return get_peft_model(load_model(folder, labels), config)


class ExampleRows(torch.utils.data.Dataset):
    """Tokenized examples as a map-style data set with the columns that HF Trainer expects."""

    def __init__(self, examples: batches.Examples) -> None:
        self.rows = []
        for i in range(len(examples)):
            tokens = slice(examples.offsets[i], examples.offsets[i + 1])
            row = {"input_ids": examples.tokens[tokens].tolist(), "labels": examples.labels[i].item()}
            row["attention_mask"] = [1] * len(row["input_ids"])
            if examples.types is not None:
                row["token_type_ids"] = examples.types[tokens].tolist()
            self.rows.append(row)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return self.rows[i]


@dataclass(frozen=True)
class TrainerOptions:
    """How HF Trainer trains.

    Attributes:
        sampling: "random" or "group_by_length".
        precision: As in the configuration.
        peft: With PEFT's LoRA on query and value; otherwise every weight is trained.
        compiled: With `torch_compile` and fused AdamW.
    """

    sampling: str = "random"
    precision: str = "fp32"
    peft: bool = True
    compiled: bool = False
    device: torch.device = CPU


def hf_trainer(
    model: Path, data: TokenizedFiles, hyperparameters: Hyperparameters, out: Path, options: TrainerOptions
) -> Any:
    """Return HF Trainer on the same tokens; its usual collator pads to the longest of a batch."""
    from transformers import AutoTokenizer, DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

    on_gpu = options.device.type == "cuda"
    arguments = TrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=hyperparameters.batch_size,
        num_train_epochs=1,
        learning_rate=hyperparameters.learning_rate,
        weight_decay=hyperparameters.weight_decay,
        warmup_steps=hyperparameters.warmup_ratio,  # below 1, it is a share of the steps
        max_grad_norm=hyperparameters.max_grad_norm,
        train_sampling_strategy=options.sampling,
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        tf32=options.precision == "tf32" if on_gpu else None,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=1,
        **({"torch_compile": True, "optim": "adamw_torch_fused"} if options.compiled else {}),
    )
    labels = read_data_card(data.card).labels
    trainer = Trainer(
        model=peft_model(model, labels) if options.peft else load_model(model, labels),
        args=arguments,
        train_dataset=ExampleRows(batches.load(data.train)),
        eval_dataset=ExampleRows(batches.load(data.validation)),
        data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(model)),
    )
    trainer.remove_callback(PrinterCallback)  # it would print between the rows, during the measurement
    return trainer


def train_seconds(trainer: Any) -> float:
    """Return the seconds of `Trainer.train()`, without the construction of the trainer."""
    started = time.perf_counter()
    trainer.train()
    return time.perf_counter() - started
