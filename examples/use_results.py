"""Use the results of a study: classify with a merged model, load an adapter with PEFT, and add LoRA to your own model.

    make demo
    .venv/bin/python examples/use_results.py results/demo cola

The first two parts need only transformers and peft, the third torch and this package.
"""

import sys
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from lora_core import inject, merge


def classify(results: Path, task: str) -> None:
    """Classify one example with a merged model, which is a plain transformers folder."""
    classifier = pipeline("text-classification", model=str(results / "merged" / "lora" / task / "seed1"))
    prediction = classifier({"text": "A dog barks in the garden.", "text_pair": "An animal makes a noise."})
    print(f"merged model: {prediction}")


def load_adapter(results: Path, task: str) -> None:
    """Load an adapter, which is in PEFT's layout, on top of the model it was trained on."""
    weights = results / "runs" / "lora" / task / "seed1" / "weights"
    (base_folder,) = (folder for folder in (results / "models").iterdir() if folder.is_dir())
    merged_config = AutoConfig.from_pretrained(results / "merged" / "lora" / task / "seed1")
    base = AutoModelForSequenceClassification.from_pretrained(base_folder, num_labels=merged_config.num_labels)
    model = PeftModel.from_pretrained(base, weights).eval()
    inputs = AutoTokenizer.from_pretrained(weights)(
        "A dog barks in the garden.", "An animal makes a noise.", return_tensors="pt"
    )
    with torch.inference_mode():
        print(f"adapter loaded by PEFT: logits {model(**inputs).logits[0].tolist()}")


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
    load_adapter(results_folder, task_name)
    adapt_custom_model()
