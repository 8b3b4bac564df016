"""One LoRA epoch of the size of SST-2 on a GPU, against HF Trainer + PEFT: `python -m bench.gpu`.

Needs torch, transformers and, for the peer's rows, peft and accelerate: RoBERTa-base with random weights, made-up
tokens with lengths after SST-2's, no network, no Snakemake. A prototype of what a GPU allows: `lora_core.training.run` has
the layer and the batches, not yet the graphs. The whole data set lies on the device, lengths are rounded
up to multiples of eight, and a training step of each of the few shapes that leaves is one CUDA graph, so that no step
waits for the host. `--smoke` runs the same on a CPU with a tiny model and without graphs: it measures nothing.
"""

import argparse
import gc
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import RobertaConfig, RobertaForSequenceClassification

from bench.peers import SETTINGS as LORA
from lora_core.data import batches as data
from lora_core.methods import registry as methods
from lora_core.methods.layers import LoRALinear
from lora_core.models import model as models

FULL = {"kind": "full"}
MULTIPLE = 8  # lengths are rounded up to it: few shapes, and what tensor cores like
PAD = 1
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def lengths(examples: int) -> np.ndarray:
    """Token counts after SST-2's: short phrases and a tail of sentences, 4 to 66 tokens, 12 on average."""
    drawn = np.random.default_rng(0).lognormal(math.log(10.5), 0.62, examples)
    return np.clip(drawn, 4, 66).astype(np.int64)


def build(settings: dict[str, Any], tiny: bool) -> nn.Module:
    """RoBERTa-base of random weights with a head of two labels, ready to train."""
    shape = TINY if tiny else {}
    torch.manual_seed(0)
    model = RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=2, **shape
        )
    )
    return methods.adapt(model, settings, torch.Generator().manual_seed(0)).train()


class Resident:
    """The data set on the device: ids (examples, longest) and labels (examples,)."""

    def __init__(self, sizes: np.ndarray, where: torch.device) -> None:
        generator = np.random.default_rng(1)
        self.sizes = sizes
        longest = _rounded(int(sizes.max()))
        ids = generator.integers(5, 50000, (len(sizes), longest))
        ids[np.arange(longest) >= sizes[:, None]] = PAD
        self.ids = torch.from_numpy(ids).to(where)
        self.labels = torch.from_numpy(generator.integers(0, 2, len(sizes))).to(where)

    def order(self, batch_size: int, seed: int) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """One epoch's rows in a row, on the device, and each batch's shape."""
        batches = data.order(self.sizes, batch_size, "bucketed", seed)
        shapes = [(len(rows), _rounded(int(self.sizes[rows].max()))) for rows in batches]
        return torch.from_numpy(np.concatenate(batches)).to(self.ids.device), shapes


def _rounded(tokens: int) -> int:
    return -(-tokens // MULTIPLE) * MULTIPLE


class Trainer:
    """A training step per shape, captured as a CUDA graph where there is one."""

    def __init__(self, model: nn.Module, where: torch.device, precision: str) -> None:
        self.model, self.where = model.to(where), where
        if precision == "bf16":
            models.cast_frozen(model, torch.bfloat16)
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.graphed = where.type == "cuda"
        self.rate = torch.tensor(5e-4, device=where)
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=self.rate if self.graphed else 5e-4, fused=True, capturable=self.graphed
        )
        self.steps: dict[tuple[int, int], Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {}
        self.capture_seconds = 0.0
        self.pool = torch.cuda.graph_pool_handle() if self.graphed else None

    def step(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One eager step; the loss, still on the device."""
        # A mask of four dimensions is taken as it is; a flat one would be looked at by the host.
        mask = (ids != PAD)[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        with torch.autocast(self.where.type, self.dtype, self.dtype != torch.float32, cache_enabled=False):
            logits = self.model(input_ids=ids, attention_mask=mask).logits
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def prepare(self, shapes: set[tuple[int, int]]) -> None:
        """Capture a graph for each shape; the seconds are told apart from the epoch's."""
        begun = time.perf_counter()
        for shape in sorted(shapes, reverse=True):
            self.steps[shape] = self._captured(shape) if self.graphed else self.step
        _synchronize(self.where)
        self.capture_seconds += time.perf_counter() - begun

    def _captured(self, shape: tuple[int, int]) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        ids = torch.full(shape, 5, device=self.where)
        labels = torch.zeros(shape[0], dtype=torch.int64, device=self.where)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.step(ids, labels)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            loss = self.step(ids, labels)

        def replay(new_ids: torch.Tensor, new_labels: torch.Tensor) -> torch.Tensor:
            ids.copy_(new_ids)
            labels.copy_(new_labels)
            graph.replay()
            return loss

        return replay

    def epoch(self, examples: Resident, batch_size: int, seed: int) -> float:
        """Seconds of an epoch."""
        rows, shapes = examples.order(batch_size, seed)
        self.prepare(set(shapes) - set(self.steps))
        _synchronize(self.where)
        begun = time.perf_counter()
        start = 0
        for number, (size, tokens) in enumerate(shapes):
            self.rate.fill_(5e-4 * (1 - number / len(shapes)))
            chosen = rows[start : start + size]
            loss = self.steps[size, tokens](examples.ids[chosen, :tokens], examples.labels[chosen])
            start += size
        _synchronize(self.where)
        seconds = time.perf_counter() - begun
        if not math.isfinite(loss.item()):
            raise ValueError(f"the loss is {loss.item()} after an epoch")
        return seconds


def _synchronize(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def peer(examples: Resident, batch_size: int, where: torch.device, tiny: bool, precision: str) -> float:
    """Seconds of an epoch of HF Trainer + PEFT, padded to the longest of a batch; raises ImportError without them."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import PrinterCallback, TrainingArguments
    from transformers import Trainer as HFTrainer

    model = get_peft_model(
        build(FULL, tiny), LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=8, target_modules=["query", "value"])
    )
    ids, labels = examples.ids.cpu(), examples.labels.cpu()

    def collate(rows: list[int]) -> dict[str, torch.Tensor]:
        taken = ids[rows, : int(examples.sizes[rows].max())]
        return {"input_ids": taken, "attention_mask": (taken != PAD).long(), "labels": labels[rows]}

    arguments = TrainingArguments(
        output_dir="results/bench/gpu", per_device_train_batch_size=batch_size, num_train_epochs=1, learning_rate=5e-4,
        bf16=precision == "bf16", use_cpu=where.type == "cpu", save_strategy="no",
        report_to="none", disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    hf = HFTrainer(model=model, args=arguments, train_dataset=list(range(len(ids))), data_collator=collate)
    hf.remove_callback(PrinterCallback)
    begun = time.perf_counter()
    hf.train()
    _synchronize(where)
    return time.perf_counter() - begun


def memory(settings: dict[str, Any], where: torch.device, precision: str) -> float | None:
    """MB of the allocator's peak over three eager steps of 16 examples of 64 tokens; None on a CPU."""
    if where.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(where)
    before = torch.cuda.memory_allocated(where)
    trainer = Trainer(build(settings, tiny=False), where, precision)
    for _ in range(3):
        trainer.step(torch.full((16, 64), 5, device=where), torch.zeros(16, dtype=torch.int64, device=where))
    return (torch.cuda.max_memory_allocated(where) - before) / 1e6


def fused_error(where: torch.device) -> float:
    """The largest difference of the layer's gradients to the plain formula's, over the largest gradient, in float32."""
    layer = LoRALinear(nn.Linear(768, 768), 8, 8.0).to(where)
    nn.init.normal_(layer.lora_B)
    x = torch.randn(16, 32, 768, device=where)
    found = []
    for fused in (True, False):
        layer.zero_grad(set_to_none=True)
        plain = F.linear(x, layer.weight, layer.bias) + F.linear(F.linear(x, layer.lora_A), layer.lora_B) * layer.scale
        (layer(x) if fused else plain).square().sum().backward()
        assert layer.lora_A.grad is not None
        assert layer.lora_B.grad is not None
        found.append(torch.cat([layer.lora_A.grad.flatten(), layer.lora_B.grad.flatten()]))
    error = ((found[0] - found[1]).abs().max() / found[1].abs().max()).item()
    if error > 1e-5:
        raise ValueError(f"the layer's gradients are {error:.1e} off the plain formula's")
    return error


def graph_error(where: torch.device, tiny: bool) -> float | None:
    """The largest difference of the trained weights after three replayed steps to three eager ones, over the largest
    weight; without dropout, in float32. None where there are no graphs."""
    if where.type != "cuda":
        return None
    ids, labels = torch.full((16, 16), 5, device=where), torch.ones(16, dtype=torch.int64, device=where)
    found = []
    for replayed in (True, False):
        trainer = Trainer(build(LORA, tiny).eval(), where, "fp32")
        if replayed:
            trainer.prepare({(16, 16)})  # which takes three steps to warm up, on other labels
        else:
            for _ in range(3):
                trainer.step(ids, torch.zeros_like(labels))
        step = trainer.steps.get((16, 16), trainer.step)
        for _ in range(3):
            step(ids, labels)
        found.append(torch.cat([p.detach().flatten() for p in trainer.trained]))
    error = ((found[0] - found[1]).abs().max() / found[1].abs().max()).item()
    if error > 1e-4:
        raise ValueError(f"replayed steps end {error:.1e} off eager ones")
    return error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--examples", type=int, default=67349)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU, without graphs: shows that it runs")
    told = parser.parse_args()
    if not told.smoke and not torch.cuda.is_available():
        raise SystemExit("skipped: torch sees no CUDA device here; --smoke runs the same code on a CPU")
    where = torch.device("cpu" if told.smoke else "cuda")
    count = 64 if told.smoke else told.examples
    examples = Resident(lengths(count), where)
    record: dict[str, Any] = {
        "device": "cpu" if told.smoke else torch.cuda.get_device_name(where),
        "torch": torch.__version__,
        "examples": count,
        "mean_tokens": float(examples.sizes.mean()),
        "precision": told.precision,
        "fused_gradient_error": fused_error(where),
        "graph_error": graph_error(where, told.smoke),
    }
    for name, settings in (("lora", LORA), ("full", FULL)):
        trainer = Trainer(build(settings, told.smoke), where, told.precision)
        record[f"{name}_epoch_seconds"] = [trainer.epoch(examples, told.batch_size, s) for s in range(told.epochs)]
        record[f"{name}_shapes"] = len(trainer.steps)
        record[f"{name}_capture_seconds"] = trainer.capture_seconds
        del trainer
        record[f"{name}_peak_mb"] = memory(settings, where, told.precision)
    try:
        record["peer_epoch_seconds"] = [
            peer(examples, told.batch_size, where, told.smoke, told.precision) for _ in range(told.epochs)
        ]
        ours, theirs = min(record["lora_epoch_seconds"]), min(record["peer_epoch_seconds"])
        record["peer_over_ours"] = theirs / ours
    except ImportError as error:
        record["peer_epoch_seconds"] = None
        record["peer_reason"] = f"not installed: {error.name}"
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
