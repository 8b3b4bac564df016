"""What LoRA saves of training's memory, from a small encoder to the size of GPT-3: predicted from shapes alone.

Every model is an encoder of the named model's shape, with full fine-tuning and with LoRA of rank 8 on query and value,
in float32 with AdamW. What masks attention, and where norms stand, changes no byte worth counting. Two of the shapes
are built for real as well: what a training step of theirs keeps is counted, and how much memory the process takes is
measured.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from lora_core.job import Progress
from lora_core.measuring import memory
from lora_core.methods import registry as methods
from lora_core.records import write_json


@dataclass(frozen=True)
class Shape:
    """A model's shape, as published (GPT-3 13B is printed with a width of 5140, which its 40 heads do not divide)."""

    name: str
    hidden: int
    layers: int
    heads: int
    vocabulary: int
    positions: int


SHAPES = (
    Shape("MiniLM-L6", 384, 6, 12, 30522, 512),
    Shape("RoBERTa-base", 768, 12, 12, 50265, 514),
    Shape("RoBERTa-large", 1024, 24, 16, 50265, 514),
    Shape("GPT-2 small", 768, 12, 12, 50257, 1024),
    Shape("GPT-2 medium", 1024, 24, 16, 50257, 1024),
    Shape("GPT-2 large", 1280, 36, 20, 50257, 1024),
    Shape("GPT-2 XL", 1600, 48, 25, 50257, 1024),
    Shape("GPT-3 6.7B", 4096, 32, 32, 50257, 2048),
    Shape("GPT-3 13B", 5120, 40, 40, 50257, 2048),
    Shape("GPT-3 175B", 12288, 96, 96, 50257, 2048),
)
COUNTED = SHAPES[:2]  # what fits anywhere
# Batches and padded lengths: Table 7's batch sizes of 16 and 32, from short pairs to the longest input.
BATCHES = ((16, 64), (32, 128), (32, 256), (32, 512))
COUNTED_BATCH = BATCHES[0]
METHODS: dict[str, dict[str, Any]] = {
    "fft": {"kind": "full"},
    "lora": {"kind": "lora", "rank": 8, "alpha": 8.0, "targets": ["query", "value"], "freeze_a": False},
}


@dataclass(frozen=True)
class Row:
    """Memory of one training step, in MB (10^6 bytes)."""

    model: str
    parameters: int
    method: str
    batch: int
    tokens: int
    weights_mb: float
    gradients_mb: float
    optimizer_mb: float
    saved_for_backward_mb: float
    resident_peak_mb: float | None = None  # what the process grew by; None where nothing ran


def build(shape: Shape, settings: dict[str, Any]) -> nn.Module:
    """An encoder of this shape with a head of two labels, ready to train, on the device of the context."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    config = RobertaConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.positions,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        num_labels=2,
    )
    return methods.adapt(RobertaForSequenceClassification(config), settings, torch.Generator().manual_seed(0))


def predicted() -> Iterator[Row]:
    """Every shape, method and batch, from shapes alone."""
    for shape in SHAPES:
        for method, settings in METHODS.items():
            with torch.device("meta"):
                model = build(shape, settings)
            for batch, tokens in BATCHES:
                found = memory.predict(model, batch, tokens, "fp32")
                assert found is not None  # RoBERTa runs on the meta device
                yield Row(shape.name, _size(model), method, batch, tokens, **found)


def counted(shape: Shape, method: str) -> Row:
    """What a real training step on this machine keeps: its tensors, its gradients, AdamW's state, and for backward.

    Beside that the growth of this process at its peak over two steps: run in a process of its own, it is this model's.
    """
    batch, tokens = COUNTED_BATCH
    before = psutil.Process().memory_info().rss
    torch.manual_seed(0)
    model = build(shape, METHODS[method]).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(trained)
    ids = torch.randint(5, shape.vocabulary, (batch, tokens))
    with memory.saved_for_backward(model) as saved:
        model(input_ids=ids).logits.float().sum().backward()
    adamw.step()
    adamw.zero_grad()
    model(input_ids=ids).logits.float().sum().backward()
    adamw.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    states = [value for state in adamw.state.values() for value in state.values() if value.ndim]
    return Row(
        shape.name,
        _size(model),
        method,
        batch,
        tokens,
        weights_mb=sum(p.nbytes for p in model.parameters()) / 1e6,
        gradients_mb=sum(p.grad.nbytes for p in trained if p.grad is not None) / 1e6,
        optimizer_mb=sum(value.nbytes for value in states) / 1e6,
        saved_for_backward_mb=saved.mb,
        resident_peak_mb=(peak - before) / 1e6,
    )


def counted_apart(shape: Shape, method: str, threads: int) -> dict[str, Any]:
    """`counted` in a process of its own."""
    told = json.dumps({"shape": asdict(shape), "method": method, "threads": threads})
    package = str(Path(__file__).parents[2])
    run = [sys.executable, "-m", "lora_core.evaluation.memory_scaling", told]
    done = subprocess.run(run, stdout=subprocess.PIPE, check=True, text=True, env=os.environ | {"PYTHONPATH": package})
    return json.loads(done.stdout)


def _size(model: nn.Module) -> int:
    """Parameters of the base model and its head, without what LoRA adds."""
    return sum(p.numel() for name, p in model.named_parameters() if ".lora_" not in name)


def scale(out: Path, threads: int) -> None:
    """Write scaling.json: the rows that are predicted, and those of a real step."""
    torch.set_num_threads(threads)
    progress = Progress("scaling")
    rows = []
    for row in predicted():
        rows.append(asdict(row))
        progress.step(f"{row.model}, {row.method}")
    write_json(out, {"predicted": rows, "counted": [counted_apart(s, m, threads) for s in COUNTED for m in METHODS]})


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    torch.set_num_threads(told["threads"])
    counted(Shape("warm-up", 16, 1, 1, 100, 130), told["method"])  # loads what is not to be billed to the model
    print(json.dumps(asdict(counted(Shape(**told["shape"]), told["method"]))))
