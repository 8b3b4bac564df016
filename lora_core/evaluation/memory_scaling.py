"""What LoRA saves of training memory, from a small encoder to the size of GPT-3: predicted from shapes alone.

Every model is an encoder of the named model's shape, once with full fine-tuning and once with LoRA of rank 8 on query
and value, in float32 with AdamW. Causal masks and the position of norms hardly change the memory. For two
of the shapes a real training step is run as well, which counts what it stores and measures how much memory the process
takes.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
import torch
from torch import nn

from lora_core.measuring import memory
from lora_core.measuring.predicted_memory import predicted_memory_mb
from lora_core.methods import full, lora, registry
from lora_core.methods.settings import MethodSettings
from lora_core.records import write_json
from lora_core.sealed import seal
from lora_core.training.progress import Progress


@dataclass(frozen=True)
class Shape:
    """A model's published shape (GPT-3 13B is printed with a width of 5140, which its 40 heads do not divide)."""

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
COUNTED = SHAPES[:2]  # small enough for any machine
# Batches and padded lengths: Table 7's batch sizes of 16 and 32, from short pairs to the longest input.
BATCHES = ((16, 64), (32, 128), (32, 256), (32, 512))
COUNTED_BATCH = BATCHES[0]
METHODS: dict[str, MethodSettings] = {
    "full": full.Settings(),
    "lora": lora.Settings(rank=8, alpha=8.0, targets=("query", "value")),
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
    resident_peak_mb: float | None = None  # by how much the process grew; None for a prediction


def build(shape: Shape, settings: MethodSettings) -> nn.Module:
    """Return an encoder of this shape with a head of two labels, ready to train, on torch's current default device."""
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
    return registry.adapt(RobertaForSequenceClassification(config), settings, torch.Generator().manual_seed(0))


def predicted() -> Iterator[Row]:
    """Yield the prediction for every shape, method and batch."""
    for shape in SHAPES:
        for method, settings in METHODS.items():
            models = [_shapes(replace(shape, layers=layers), settings) for layers in (1, 2)]
            one, two = map(_base_parameters, models)
            for batch, tokens in BATCHES:
                first, second = (_predicted_parts(model, (batch, tokens)) for model in models)
                # Layers are equal, so each adds the same.
                parts = {part: mb + (shape.layers - 1) * (second[part] - mb) for part, mb in first.items()}
                yield Row(shape.name, one + (shape.layers - 1) * (two - one), method, batch, tokens, **parts)


def _predicted_parts(model: nn.Module, batch: tuple[int, int]) -> dict[str, float]:
    parts = predicted_memory_mb(model, batch, "cpu", _logits)
    assert parts is not None  # RoBERTa runs on shapes alone
    return parts


def _shapes(shape: Shape, settings: MethodSettings) -> nn.Module:
    with torch.device("meta"):
        return build(shape, settings)


def _logits(model: nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return model(input_ids=inputs["input_ids"]).logits


def counted(shape: Shape, method: str) -> Row:
    """Run two training steps on the CPU and count weights, gradients, AdamW's state and what is saved for backward.

    `resident_peak_mb` is by how much this process grew at its peak, which is due to this model alone only if the
    process does nothing else.
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
        _base_parameters(model),
        method,
        batch,
        tokens,
        weights_mb=sum(p.nbytes for p in model.parameters()) / 1e6,
        gradients_mb=sum(p.grad.nbytes for p in trained if p.grad is not None) / 1e6,
        optimizer_mb=sum(value.nbytes for value in states) / 1e6,
        saved_for_backward_mb=saved.mb,
        resident_peak_mb=(peak - before) / 1e6,
    )


def counted_in_subprocess(shape: Shape, method: str, threads: int) -> Row:
    """Run `counted` in a separate process."""
    arguments = json.dumps({"shape": asdict(shape), "method": method, "threads": threads})
    package_parent = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "lora_core.evaluation.memory_scaling", arguments]
    environment = os.environ | {"PYTHONPATH": package_parent}
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    return Row(**json.loads(result.stdout))


def _base_parameters(model: nn.Module) -> int:
    """Return the number of parameters of the base model and its head, without those that LoRA adds."""
    return sum(p.numel() for name, p in model.named_parameters() if ".lora_" not in name)


def predict_memory(out: Path, threads: int) -> None:
    """Write scaling.json: the rows that are predicted from shapes, and those counted on a real step."""
    torch.set_num_threads(threads)
    progress = Progress("scaling")
    rows = []
    for row in predicted():
        rows.append(asdict(row))
        progress.update(f"{row.model}, {row.method}")
    counts = [asdict(counted_in_subprocess(shape, method, threads)) for shape in COUNTED for method in METHODS]
    write_json(out, seal({"predicted": rows, "counted": counts}))


def _main(arguments: str) -> None:
    """Print the row of `counted` as JSON, after a small model has loaded what is not to be attributed to the model."""
    settings = json.loads(arguments)
    torch.set_num_threads(settings["threads"])
    counted(Shape("warm-up", 16, 1, 1, 100, 130), settings["method"])
    print(json.dumps(asdict(counted(Shape(**settings["shape"]), settings["method"]))))


if __name__ == "__main__":
    _main(sys.argv[1])
