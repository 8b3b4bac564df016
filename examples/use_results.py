"""Use the results of a study: classify with a merged model and with an adapter, and add LoRA to your own model.

    make demo
    .venv/bin/python examples/use_results.py results/demo cola

The first two parts need only transformers and peft, the third torch and this package.
"""

import json
import sys
from pathlib import Path

import torch
from peft import AutoPeftModelForSequenceClassification
from torch import nn
from transformers import AutoTokenizer, pipeline

from lora_core import inject, merge

EXAMPLE = {"text": "A dog barks in the garden.", "text_pair": "An animal makes a noise."}


def classify(results: Path, task: str) -> None:
    """Classify one example with a merged model, which is a plain transformers folder."""
    classifier = pipeline("text-classification", model=str(results / "merged" / "lora" / task / "seed1"))
    print(f"merged model: {classifier(EXAMPLE)}")


def open_adapter(results: Path, task: str) -> None:
    """Open an adapter, which is in PEFT's layout and names the model it was trained on."""
    folder = results / "runs" / "lora" / task / "seed1"
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))["run"]
    weights, labels = str(folder / "weights"), run["data"]["labels"]
    head = {"num_labels": 1, "problem_type": "regression"}  # a task without classes predicts a number
    if labels:
        label2id = {label: i for i, label in enumerate(labels)}
        head = {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": label2id}
    classifier = pipeline(
        "text-classification",
        model=weights,
        tokenizer=weights,
        revision=run.get("base_revision"),
        dtype="float32",
        model_kwargs=dict(head),
    )
    print(f"adapter: {classifier(EXAMPLE)}")
    model = AutoPeftModelForSequenceClassification.from_pretrained(weights, **head).eval()
    inputs = AutoTokenizer.from_pretrained(weights)(EXAMPLE["text"], EXAMPLE["text_pair"], return_tensors="pt")
    with torch.inference_mode():
        print(f"adapter opened by PEFT: logits {model(**inputs).logits[0].tolist()}")


def adapt_custom_model() -> None:
    """Add LoRA to any torch model: inject, train the parameters that require a gradient, merge."""
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(d_model=32, nhead=4, batch_first=True)
    inject(model, targets=["linear1", "linear2"], rank=4, alpha=8)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-2)
    x = torch.randn(8, 10, 32)
    for _ in range(20):
        loss = (model(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    merge(model)
    print(f"custom model: {sum(p.numel() for p in trainable)} parameters trained, loss {loss.item():.3f}, merged")


if __name__ == "__main__":
    results_folder, task_name = Path(sys.argv[1]), sys.argv[2]
    classify(results_folder, task_name)
    open_adapter(results_folder, task_name)
    adapt_custom_model()
