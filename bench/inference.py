"""Inference: merged LoRA against full fine-tuning, and an evaluation pass against `Trainer.evaluate`."""

import time

import torch

from bench import peers
from bench.paired import Row, interleaved, ratio
from bench.place import Place
from bench.training import adapted
from lora_core.data import batches as data
from lora_core.methods.layers import LoRALinear
from lora_core.training import steps

CPU = torch.device("cpu")


def merged(place: Place) -> list[Row]:
    """A pass over a validation set: LoRA folded into plain layers, as `merge_adapter` writes it, against plain."""
    plain = peers.plain(place.model(), [])
    folded = adapted(place.model(), peers.SETTINGS)
    for name, module in list(folded.named_modules()):
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.lora_B, std=0.02)
            module.toggle_merge(True)
            linear = torch.nn.Linear(module.weight.shape[1], module.weight.shape[0])
            linear.weight, linear.bias = module.weight, module.bias
            parent, _, child = name.rpartition(".")
            setattr(folded.get_submodule(parent), child, linear)
    examples = data.load(place.data("stsb") / "validation.safetensors")
    ways = {
        "merged": lambda: steps.evaluate(folded, examples, CPU, "fp32", 32),
        "fft": lambda: steps.evaluate(plain, examples, CPU, "fp32", 32),
    }
    seconds = interleaved(ways, rounds=2 if place.quick else 20)
    return [ratio("merged LoRA, a pass over STS-B's validation set", "FFT", seconds["merged"], seconds["fft"],
                  ("+-", 0.02))]  # fmt: skip


def evaluation(place: Place) -> list[Row]:
    """An evaluation pass of the same LoRA model's kind: `Trainer.evaluate` at its default batch of 8 and at ours."""
    folder = place.data("stsb")
    examples = data.load(folder / "validation.safetensors")
    spec = place.spec("stsb")
    own = adapted(place.model(), peers.SETTINGS)
    peer = peers.trainer(
        place.model(), folder, spec.hyperparameters, place.folder / "evaluate", sampling="random", precision="fp32"
    )

    def theirs(size: int) -> float:
        peer.args.per_device_eval_batch_size = size
        begun = time.perf_counter()
        peer.evaluate()
        return time.perf_counter() - begun

    size = spec.evaluation_batch_size
    ways = {
        "ours": lambda: steps.evaluate(own, examples, CPU, "fp32", size),
        "default": lambda: theirs(8),
        "same": lambda: theirs(size),
    }
    seconds = interleaved(ways, rounds=2 if place.quick else 5)
    what = "evaluation pass, STS-B"
    return [
        ratio(what, "HF Trainer.evaluate, its default batch of 8", seconds["default"], seconds["ours"], (">=", 2.0)),
        ratio(what, f"HF Trainer.evaluate, batches of {size} too", seconds["same"], seconds["ours"], (">=", 2.0)),
    ]
