"""What a study leaves, in use: a merged model that classifies, an adapter in PEFT, and LoRA in a model of your own.

    make demo
    PYTHONPATH=. .venv/bin/python examples/use_results.py results/demo rte

The first two parts need transformers and peft alone, the third torch and this package.
"""

import sys
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from lora_core import inject, merge


def classify(results: Path, task: str) -> None:
    """A merged model is a plain transformers folder."""
    classifier = pipeline("text-classification", model=str(results / "merged" / "lora" / task / "seed1"))
    answer = classifier({"text": "A dog barks in the garden.", "text_pair": "An animal makes a noise."})
    print(f"merged model: {answer}")


def load_adapter(results: Path, task: str) -> None:
    """An adapter is in PEFT's layout; it goes onto the model it was trained on."""
    weights = results / "runs" / "lora" / task / "seed1" / "weights"
    (base_folder,) = (results / "models").iterdir()
    labels = AutoModelForSequenceClassification.from_pretrained(results / "merged" / "lora" / task / "seed1").config
    base = AutoModelForSequenceClassification.from_pretrained(base_folder, num_labels=labels.num_labels)
    model = PeftModel.from_pretrained(base, weights).eval()
    inputs = AutoTokenizer.from_pretrained(weights)(
        "A dog barks in the garden.", "An animal makes a noise.", return_tensors="pt"
    )
    with torch.inference_mode():
        print(f"adapter by PEFT: logits {model(**inputs).logits[0].tolist()}")


def adapt_your_own() -> None:
    """Three lines on any torch model: inject, train what requires a gradient, merge."""
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(d_model=32, nhead=4, batch_first=True)
    inject(model, targets=["linear1", "linear2"], rank=4, alpha=8)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    x = torch.randn(8, 10, 32)
    for _ in range(20):
        loss = (model(x) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    merge(model)
    print(f"own model: {sum(p.numel() for p in trained)} parameters trained, loss {loss.item():.3f}, merged")


if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    classify(folder, name)
    load_adapter(folder, name)
    adapt_your_own()
