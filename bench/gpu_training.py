"""Training on a GPU for `bench.gpu`: a data set that stays on the device, and a CUDA graph for each batch shape."""

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import RobertaConfig, RobertaForSequenceClassification

from lora_core.data import batches
from lora_core.methods import registry
from lora_core.methods.settings import MethodSettings
from lora_core.models import model as models

LENGTH_MULTIPLE = 8  # lengths are rounded up to it, for few shapes and for tensor cores
PAD = 1
LEARNING_RATE = 5e-4
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def draw_lengths(examples: int) -> np.ndarray:
    """Return token counts like SST-2's: short phrases and some sentences, 4 to 66 tokens, 12 on average."""
    lengths = np.random.default_rng(0).lognormal(math.log(10.5), 0.62, examples)
    return np.clip(lengths, 4, 66).astype(np.int64)


def build_model(settings: MethodSettings, tiny: bool) -> nn.Module:
    """Return RoBERTa-base with random weights and a head for two labels, ready to train."""
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=50265,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        num_labels=2,
        **(TINY if tiny else {}),
    )
    model = RobertaForSequenceClassification(config)
    return registry.adapt(model, settings, torch.Generator().manual_seed(0)).train()


class DeviceData:
    """The data set on the device: `ids` (examples, longest) and `labels` (examples,); `lengths` is on the host."""

    def __init__(self, lengths: np.ndarray, device: torch.device) -> None:
        generator = np.random.default_rng(1)
        self.lengths = lengths
        longest = _rounded(int(lengths.max()))
        ids = generator.integers(5, 50000, (len(lengths), longest))
        ids[np.arange(longest) >= lengths[:, None]] = PAD
        self.ids = torch.from_numpy(ids).to(device)
        self.labels = torch.from_numpy(generator.integers(0, 2, len(lengths))).to(device)

    def order(self, batch_size: int, seed: int) -> tuple[torch.Tensor, list[tuple[int, int]]]:
        """Return one epoch's rows, batch after batch, on the device, and the shape of each batch."""
        order = batches.order(self.lengths, batch_size, "length_grouped", seed)
        shapes = [(len(rows), _rounded(int(self.lengths[rows].max()))) for rows in order]
        return torch.from_numpy(np.concatenate(order)).to(self.ids.device), shapes


def _rounded(tokens: int) -> int:
    return -(-tokens // LENGTH_MULTIPLE) * LENGTH_MULTIPLE


class GraphTrainer:
    """Training with one step per batch shape, which on a GPU is captured as a CUDA graph."""

    def __init__(self, model: nn.Module, device: torch.device, precision: str) -> None:
        self.model = model.to(device)
        self.device = device
        if precision == "bf16":
            models.cast_frozen(model, torch.bfloat16)
        self.dtype = DTYPES[precision]
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.uses_graphs = device.type == "cuda"
        self.learning_rate = torch.tensor(LEARNING_RATE, device=device)
        self.optimizer = torch.optim.AdamW(
            self.trained,
            lr=self.learning_rate if self.uses_graphs else LEARNING_RATE,
            fused=True,
            capturable=self.uses_graphs,
        )
        self.steps: dict[tuple[int, int], Step] = {}
        self.capture_seconds = 0.0
        self.pool = torch.cuda.graph_pool_handle() if self.uses_graphs else None

    def step(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Take one step without a graph; return the loss, still on the device."""
        # transformers uses a mask of four dimensions unchanged; it would read a flat one on the host.
        mask = (ids != PAD)[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        with torch.autocast(self.device.type, self.dtype, self.dtype != torch.float32, cache_enabled=False):
            logits = self.model(input_ids=ids, attention_mask=mask).logits
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def prepare(self, shapes: set[tuple[int, int]]) -> None:
        """Capture a graph for each shape; the time counts as `capture_seconds` and not as part of an epoch."""
        started = time.perf_counter()
        for shape in sorted(shapes, reverse=True):
            self.steps[shape] = self._capture(shape) if self.uses_graphs else self.step
        synchronize(self.device)
        self.capture_seconds += time.perf_counter() - started

    def _capture(self, shape: tuple[int, int]) -> Step:
        ids = torch.full(shape, 5, device=self.device)
        labels = torch.zeros(shape[0], dtype=torch.int64, device=self.device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step(ids, labels)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool):
            loss = self.step(ids, labels)

        def replay(new_ids: torch.Tensor, new_labels: torch.Tensor) -> torch.Tensor:
            ids.copy_(new_ids)
            labels.copy_(new_labels)
            graph.replay()
            return loss

        return replay

    def train_epoch(self, data: DeviceData, batch_size: int, seed: int) -> float:
        """Train an epoch and return its seconds. Raise ValueError if the last loss is not finite."""
        rows, shapes = data.order(batch_size, seed)
        self.prepare(set(shapes) - set(self.steps))
        synchronize(self.device)
        started = time.perf_counter()
        first = 0
        for number, (size, tokens) in enumerate(shapes):
            self.learning_rate.fill_(LEARNING_RATE * (1 - number / len(shapes)))
            batch = rows[first : first + size]
            loss = self.steps[size, tokens](data.ids[batch, :tokens], data.labels[batch])
            first += size
        synchronize(self.device)
        seconds = time.perf_counter() - started
        if not math.isfinite(loss.item()):
            raise ValueError(f"the loss is {loss.item()} after an epoch")
        return seconds


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished; without effect on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
