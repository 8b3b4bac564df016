"""A merged model in tools that run, quantize, rank by or explain models, as the table in docs/using.md says."""

import pytest
from builders import BERT, LORA, ROOT, prepared, tokenized, trained
from other_tools import run_python

from lora_core.methods.merging import merge_adapter

pytestmark = pytest.mark.packaging

ONNX_READERS = """
onnx==1.23.2 onnxscript==0.7.2 onnx-ir==1.1.0 ml-dtypes==0.6.0 onnxruntime==1.32.0 flatbuffers==25.12.19
openvino==2026.4.1 openvino-telemetry==2025.2.0 fastembed==0.9.1 loguru==0.7.3 mmh3==5.3.1 py-rust-stemmers==0.1.8
"""
SHAP_AND_OTHERS = "shap==0.51.0 numba==0.68.1 llvmlite==0.50.0 slicer==0.0.8 cloudpickle==3.1.3"
# What every script begins with: the folder of the merged model, two pairs of texts, and the logits by transformers.
START = """
import json, sys
import numpy as np, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder = sys.argv[1]
first, second = ["A dog barks in the garden.", "Nobody sleeps."], ["An animal makes a noise.", "All are awake."]
tokenizer = AutoTokenizer.from_pretrained(folder)

def pairs(kind):
    return dict(tokenizer(first, second, padding=True, return_tensors=kind))

def load(**options):
    return AutoModelForSequenceClassification.from_pretrained(folder, **options).eval()

def logits(model):
    with torch.inference_mode():
        return model(**pairs("pt")).logits.float().numpy()

wanted = logits(load())
assert abs(wanted[0] - wanted[1]).max() > 1e-3  # so that a wrong order of the rows shows

def same(given, tolerance=1e-5):
    np.testing.assert_allclose(np.asarray(given), wanted, atol=tolerance)
"""
# The first of its readers exports the model.
ONNX = """
from pathlib import Path
if not Path("model.onnx").exists():
    example = dict(tokenizer(["a b c"] * 3, ["d e f"] * 3, return_tensors="pt"))  # not the shape that is run
    shapes = {name: {0: torch.export.Dim("batch", max=512), 1: torch.export.Dim("length", max=128)} for name in example}
    torch.onnx.export(
        load(), (), "model.onnx", kwargs=example, input_names=list(example), output_names=["logits"],
        dynamic_shapes=shapes,
    )
"""
RUNTIME = """
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
same(session.run(["logits"], pairs("np"))[0])
"""
OPENVINO = """
import openvino
core = openvino.Core()
model = core.compile_model(core.read_model("model.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
same(model(pairs("np"))["logits"])
"""
# It reads a folder with the tokenizer's files and a model; it takes the first column for the score.
FASTEMBED = """
import shutil
from fastembed.common.model_description import ModelSource
from fastembed.rerank.cross_encoder import TextCrossEncoder
shutil.copytree(folder, "fastembed")
for file in Path().glob("model.onnx*"):
    shutil.copy(file, "fastembed")
TextCrossEncoder.add_custom_model("mine", sources=ModelSource(hf="an/id"), model_file="model.onnx")
model = TextCrossEncoder("mine", specific_model_path="fastembed")
scores = list(model.rerank_pairs(zip(first, second)))
np.testing.assert_allclose(scores, wanted[:, 0], atol=1e-5)
"""
# The converter reads a field that transformers 5 does not write, and leaves the head out.
CTRANSLATE2 = """
import shutil
import ctranslate2
from ctranslate2.converters import TransformersConverter
shutil.copytree(folder, "bert")
config = json.load(open("bert/config.json"))
try:
    TransformersConverter("bert").convert("converted")
except AttributeError as error:
    assert "position_embedding_type" in str(error)
else:
    raise AssertionError("the field is no longer needed")
with open("bert/config.json", "w") as stream:
    json.dump(config | {"position_embedding_type": "absolute"}, stream)
TransformersConverter("bert").convert("converted", force=True)
encoder, classifier, rows = ctranslate2.Encoder("converted"), load().classifier, []
for texts in zip(first, second):
    pooled = encoder.forward_batch(tokenizer([texts[0]], [texts[1]]).input_ids).pooler_output
    rows.append(classifier(torch.tensor(np.array(pooled)))[0].detach().numpy())
same(rows)
"""
# Loading it quantized quantizes the head too, unless it is named.
BITSANDBYTES = """
from transformers import BitsAndBytesConfig
kinds = []
for skipped in (None, ["classifier"]):
    config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    model = load(quantization_config=config)
    kinds.append(type(model.classifier).__name__)
    assert type(model.bert.encoder.layer[0].attention.self.query).__name__ == "Linear8bitLt"
assert kinds == ["Linear8bitLt", "Linear"], kinds
same(logits(model), tolerance=0.05)
"""
# A model in memory, from which LoRA was merged away: every linear layer is found.
TORCHAO = """
sys.path.insert(0, sys.argv[2])
from lora_core import inject, merge
from torch import nn
from torchao.quantization import Int8Tensor, Int8WeightOnlyConfig, quantize_

def layers(model, kind):
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and kind(module)]

def quantized(model):
    quantize_(model, Int8WeightOnlyConfig())
    return layers(model, lambda module: isinstance(module.weight, Int8Tensor))

every = layers(load(), lambda module: True)
assert len(every) == 6 * 2 + 2  # two encoder layers of six, pooler and head
model = inject(load(), targets=["query", "value", "dense"], rank=2, alpha=4)
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
wanted = logits(model)
assert "LoRALinear" not in {type(module).__name__ for module in merge(model).modules()}
same(logits(model))
assert quantized(model) == every
same(logits(model), tolerance=0.05)
left = inject(load(), targets=["query", "value"], rank=2, alpha=4)  # not merged: these layers are passed by
assert len(quantized(left)) < len(every)
"""
# With one class for each text, shap takes the other's probability for 0, and says nothing.
SHAP = """
import shap
from transformers import pipeline
text = "A dog barks."
totals = {}
for top_k in (1, None):
    classify = pipeline("text-classification", model=folder, top_k=top_k)
    explained = shap.Explainer(classify, seed=0)([text], max_evals=10)
    totals[top_k] = (explained.base_values + explained.values.sum(1))[0]
expected = [answer["score"] for answer in sorted(classify(text)[0], key=lambda answer: answer["label"])]
order = np.argsort(explained.output_names)
np.testing.assert_allclose(totals[None][order], expected, atol=1e-5)
assert sum(total > 0 for total in totals[1]) == 1
"""
# What each is tried with: the packages of its environment, and the script.
TOOLS = {
    "onnxruntime": (ONNX_READERS, ONNX + RUNTIME),
    "OpenVINO": (ONNX_READERS, ONNX + OPENVINO),
    "fastembed": (ONNX_READERS, ONNX + FASTEMBED),
    "CTranslate2": ("ctranslate2==4.8.5", CTRANSLATE2),
    "bitsandbytes": ("bitsandbytes==0.50.2", BITSANDBYTES),
    "torchao": ("torchao==0.18.0", TORCHAO),
    "shap": (SHAP_AND_OTHERS, SHAP),
}


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """The folder of a merged model of RTE, whose weights are so large that its logits depend on the texts."""
    folder = tmp_path_factory.mktemp("merged")
    base = prepared(folder / "base", BERT | {"initializer_range": 0.3})
    data = tokenized(base, folder / "rte", "rte", 16, 8)
    run = trained(LORA, base, data, folder / "run", task="rte", hyperparameters={"learning_rate": 1e-2})
    merge_adapter(base, run / "weights", run / "run.json", folder / "merged")
    return folder / "merged"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The working directory of the scripts."""
    return tmp_path_factory.mktemp("work")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_does_with_a_merged_model_what_the_page_says(tool, merged, peers, work):
    packages, script = TOOLS[tool]
    run_python(peers(*packages.split()), START + script, merged, ROOT, folder=work)
    (version,) = (package.partition("==")[2] for package in packages.split() if package.startswith(f"{tool.lower()}=="))
    assert f"| {tool} {version} |" in (ROOT / "docs" / "using.md").read_text()
