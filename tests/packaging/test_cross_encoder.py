"""A merged model of two sentences is a CrossEncoder of sentence-transformers."""

import json

import numpy as np
import pytest
from builders import LORA, tokenized, trained
from other_tools import run_python
from safetensors.numpy import load_file

from lora_core.data.datasets import sample
from lora_core.data.metrics import METRICS
from lora_core.data.source import DatasetSource
from lora_core.data.splits import read_splits
from lora_core.data.tasks import TASKS
from lora_core.methods.merging import merge_adapter
from lora_core.records import read_json

pytestmark = pytest.mark.packaging

PREDICT = """
import json, sys
from sentence_transformers import CrossEncoder
folder, pairs = json.loads(sys.argv[1])
model = CrossEncoder(folder)
print(json.dumps([model.config.num_labels, model.predict(pairs, batch_size=8).tolist()]))
"""


def test_a_cross_encoder_opens_a_merged_model_and_gives_the_recorded_score(bert, peers, tmp_path):
    data = tokenized(bert, tmp_path / "rte", "rte")
    run = trained(LORA, bert, data, tmp_path / "run", task="rte", hyperparameters={"learning_rate": 1e-2})
    merge_adapter(bert, run / "weights", run / "run.json", tmp_path / "merged")
    columns = read_splits(DatasetSource("mini", seed=0), TASKS["rte"]).columns["validation"]
    columns = sample(columns, 40)
    pairs = list(zip(*(columns[name] for name in TASKS["rte"].columns), strict=True))
    python = peers("sentence-transformers==6.2.0")
    output = run_python(python, PREDICT, json.dumps([str(tmp_path / "merged"), pairs]), folder=tmp_path)
    outputs, logits = json.loads(output.splitlines()[-1])
    predictions = load_file(run / "predictions.safetensors")
    assert outputs == 2
    np.testing.assert_allclose(logits, predictions["logits"][-1], atol=1e-5)
    score = read_json(run / "run.json")["measurement"]["score"]["last"]
    assert METRICS["accuracy"].function(predictions["labels"], np.array(logits)) == pytest.approx(score)
