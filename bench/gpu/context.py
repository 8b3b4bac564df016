"""What is trained: RoBERTa-base with random weights, on random tokens whose lengths are those of SST-2 and RTE."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np

from bench.baselines import FULL, LORA
from bench.context import QUICK_EXAMPLES, BenchContext
from lora_core.config.params import run_params
from lora_core.config.sections import Train
from lora_core.data.batches import SPLITS, Examples, write
from lora_core.data.card import DataCard, SplitCard
from lora_core.data.datasets import TokenizedFiles
from lora_core.data.tasks import TASKS
from lora_core.layout import SPLIT
from lora_core.measuring.meters import MeterSettings
from lora_core.models.pretrained import prepare_model
from lora_core.records import sha256, write_json
from lora_core.sealed import seal
from lora_core.training.spec import RunSpec

ROBERTA_VOCABULARY = 50265
ROBERTA_BASE = {
    "model_type": "roberta", "vocab_size": ROBERTA_VOCABULARY, "max_position_embeddings": 514, "type_vocab_size": 1,
    "layer_norm_eps": 1e-5, "pad_token_id": 1,
}  # fmt: skip
TINY = {
    "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip
FIRST_WORD = 5  # the tokens before it are special
# The training sets' lengths in tokens, and how many examples have each: word pieces of BERT's uncased vocabulary,
# with as many special tokens as RoBERTa adds (two to a sentence, four to a pair).
LENGTHS = Path(__file__).with_name("lengths.json")
VALIDATION_EXAMPLES = 64
BATCH_SIZES = {"sst2": 16, "rte": 32}
METHODS = {"lora": LORA, "full": FULL}
STUDY_METHODS = {"lora": "lora", "full": "fft"}  # whose hyperparameters they have
# The precisions that the configuration knows, the one that users of a GPU would choose first.
PRECISIONS = sorted(get_args(Train.model_fields["precision"].annotation), key=lambda name: (name != "bf16", name))
# A second of idle power, so that the tick of the energy counter is known.
METER = MeterSettings(meter="auto", sample_seconds=0.5, idle_seconds=1.0)


@dataclass(frozen=True)
class GpuContext(BenchContext):
    """`device` is a value of `train.device`; a quick run trains a tiny model on few examples."""

    device: str = "cuda"

    def model(self) -> Path:
        """Return the folder of the prepared model, which the first call prepares."""
        folder = self.folder / "models" / ("tiny" if self.quick else "roberta-base")
        if not folder.exists():
            shape = ROBERTA_BASE | (TINY if self.quick else {})
            prepare_model({"source": "random", "config": shape, "seed": 0}, folder)
        return folder

    def data(self, task: str, max_train_examples: int | None = None) -> TokenizedFiles:
        """Return the files of a task with the lengths of SST-2 or RTE; without a limit, of all training examples."""
        return self.examples(task, str(max_train_examples or "all"), self.lengths(task)[:max_train_examples])

    def lengths(self, task: str) -> np.ndarray:
        """Return the lengths of the training examples of a whole epoch; of few and short ones in a quick run."""
        return lengths(task)[:QUICK_EXAMPLES] // 8 + 2 if self.quick else lengths(task)

    def examples(self, task: str, name: str, train_lengths: np.ndarray) -> TokenizedFiles:
        """Return the files of a task whose training examples have these lengths; `name` is their folder's."""
        files = TokenizedFiles.in_folder(self.folder / "data" / f"{task}-{name}")
        if not files.card.exists():
            vocabulary = TINY["vocab_size"] if self.quick else ROBERTA_VOCABULARY
            splits = (train_lengths, self.lengths(task)[-VALIDATION_EXAMPLES:])
            write_task(task, [draw_examples(split, vocabulary) for split in splits], files)
        return files

    def gpu_spec(self, task: str, method: str, precision: str, epochs: int = 1) -> RunSpec:
        """Return a run with batches of similar length, and with CUDA graphs where the device has them."""
        spec = RunSpec.from_params(run_params(self.study, STUDY_METHODS[method], "rte", seed=1))
        hyperparameters = replace(spec.hyperparameters, batch_size=BATCH_SIZES[task], epochs=epochs)
        return replace(
            spec,
            method=method,
            task=task,
            settings=METHODS[method],
            hyperparameters=hyperparameters,
            precision=precision,  # type: ignore[arg-type]
            batching="length_grouped",
            cuda_graphs="auto",
            device=self.device,
            measure=METER,
        )


@cache
def lengths(task: str) -> np.ndarray:
    """Return the lengths in tokens of a task's training examples, in a random order that is always the same."""
    counts = json.loads(LENGTHS.read_text(encoding="utf-8"))[task]
    sorted_lengths = np.repeat([int(length) for length in counts], list(counts.values()))
    return np.random.default_rng(0).permutation(sorted_lengths)


def draw_examples(lengths: np.ndarray, vocabulary: int) -> Examples:
    """Return examples of these lengths with random words and two classes."""
    generator = np.random.default_rng(1)
    tokens = generator.integers(FIRST_WORD, vocabulary, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Examples(tokens, None, offsets, generator.integers(0, 2, len(lengths)))


def write_task(task: str, splits: Sequence[Examples], out: TokenizedFiles) -> None:
    """Write the files of a training and a validation split, as `lora_core.data.datasets.tokenize_task` does."""
    cards = []
    for name, examples in zip(SPLITS, splits, strict=True):
        write(out.split(name), examples)
        digest = hashlib.sha256(examples.tokens.tobytes() + examples.labels.tobytes()).hexdigest()
        longest = int(examples.lengths.max())
        cards.append(SplitCard(len(examples), len(examples.tokens), longest, 0, 0.5, digest))
    files = {SPLIT.format(split=name): sha256(out.split(name)) for name in SPLITS}
    known = TASKS[task]
    train, validation = cards
    origin = {"source": "random"}
    card = DataCard(task, origin, known.columns, known.labels, known.metrics, 512, train, validation, files)
    write_json(out.card, seal(card.to_json()))
