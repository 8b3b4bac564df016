"""Advice follows from the measurement, and its commands are ones that the study takes."""

import copy
import math
import re
import shlex

import pandas as pd
import pytest
import torch
from builders import DEFAULT
from snakemake.cli import parse_config
from snakemake.utils import update_config

from lora_core import precision
from lora_core.commands.studies import load_study
from lora_core.evaluation.references import References
from lora_core.evaluation.regime_advice import advice
from lora_core.evaluation.regime_record import Regimes

REFERENCES = References(full="fft", adapter="lora")


def steps(**rows):
    """Rows of `Regimes.steps` from lists."""
    given = {"task": "", "reason": "", "time_low": math.nan, "time_high": math.nan, "energy": math.nan} | rows
    frame = pd.DataFrame({"rows_at_once": given["rows"], **given})
    return frame.assign(tokens_per_step=lambda frame: frame["rows"] * frame["tokens"])


def advised(frame, train_precision="fp32", execution="eager", lower="bf16"):
    read = Regimes(frame, pd.DataFrame(), "a GPU", train_precision, execution=execution, lower_precision=lower)
    return list(advice(read, REFERENCES, "LoRA (own)"))


def one_step(waits_for, execution="eager", **changes):
    return steps(**{
        "task": ["cola", ""], "rows": [16, 32], "tokens": [16, 128], "execution": execution, "full_ms": [10.0, 100.0],
        "lora_ms": [9.5, 70.0], "time": [0.95, 0.7], "waits_for": waits_for, "waiting": 0.87,
    } | changes)  # fmt: skip


def study_by(text, settings=()):
    """The study of config.yaml, with other settings of methods, as the command in a text changes it."""
    (command,) = re.findall("`(snakemake [^`]+)`", text)
    *_, option, value = shlex.split(command)
    assert option == "--config"
    given, config = parse_config([value]), copy.deepcopy(DEFAULT)
    update_config(config["method_settings"], dict(settings))
    update_config(config, copy.deepcopy(given))
    return load_study(config, {}, given)


@pytest.mark.parametrize(
    ("waits_for", "words"),
    [
        ("launches", "At 4,096 tokens a step the ratio is 0.70."),
        ("arithmetic", "about a third of the arithmetic; a lower precision makes both methods faster: `snakemake"),
        ("bytes", "a lower precision moves fewer in the whole step: `snakemake"),
        ("random numbers", "hyperparameters.dropout: 0.0"),
    ],
)
def test_advice_names_what_a_step_waits_for_and_what_changes_it(waits_for, words):
    (text,) = advised(one_step(waits_for))
    assert text.startswith("A step of 16 × 16 tokens takes LoRA (own) 0.95 of the time of full fine-tuning.")
    assert "(87 % of its predicted time)" in text
    assert words in text


@pytest.mark.parametrize("waits_for", ["bytes", "arithmetic"])
def test_a_lower_precision_is_advised_where_the_device_has_one(waits_for):
    for lower in ("bf16", "fp16"):
        (text,) = advised(one_step(waits_for), lower=lower)
        assert study_by(text).train.precision == lower
    (text,) = advised(one_step(waits_for), lower=None)
    assert "precision" not in text


@pytest.mark.parametrize("waits_for", ["bytes", "arithmetic"])
@pytest.mark.parametrize("low", ["bf16", "fp16"])
def test_a_study_in_a_low_precision_is_advised_none(waits_for, low):
    (text,) = advised(one_step(waits_for, execution="graphs"), low, "graphs", lower=None)
    assert text.endswith(f"; the study trains in {low} already.")
    assert "snakemake" not in text


@pytest.mark.parametrize("capability", [(8, 0), (7, 5)])
def test_a_gpu_has_a_lower_precision_than_float32(monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    lower = {(8, 0): "bf16", (7, 5): "fp16"}[capability]
    found = {name: precision.lower(name, torch.device("cuda")) for name in ("fp32", "tf32", "bf16", "fp16")}
    assert found == {"fp32": lower, "tf32": lower, "bf16": None, "fp16": None}


def test_a_cpu_has_a_lower_precision_if_it_has_instructions_for_it(monkeypatch):
    for has_them, lower in ((True, "bf16"), (False, None)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has_them=has_them: {"avx512_bf16": has_them})
        assert precision.lower("fp32", torch.device("cpu")) == lower


def test_larger_batches_are_those_of_the_first_measured_step_that_does_not_wait_for_launches():
    """A step of the task has 256 tokens; the first that waits for arithmetic has eight times as many."""
    frame = one_step(
        ["launches", "launches", "arithmetic", "arithmetic"], task=["cola", "", "", ""], rows=[16, 16, 16, 32],
        tokens=[16, 32, 128, 512], full_ms=10.0, lora_ms=9.0, time=[0.95, 0.9, 0.7, 0.75],
    )  # fmt: skip
    (text,) = advised(frame, "bf16", lower=None)
    study = study_by(text)
    assert {study.hyperparameters(method, "cola").batch_size for method in ("fft", "lora")} == {128}
    assert text.endswith("At 2,048 tokens a step the ratio is 0.70.")


def test_without_a_larger_step_no_size_is_promised():
    (text,) = advised(one_step("launches").iloc[:1])
    assert text.endswith("Longer inputs or larger batches do more for each launch.")


def test_micro_batches_that_wait_for_launches_should_be_whole_batches():
    (text,) = advised(one_step("launches", rows_at_once=[2, 32]))
    assert "Whole batches, if they fit into memory, need fewer" in text
    study = study_by(text, {"lora": {"hyperparameters": {"micro_batch_size": 2}}})
    assert study.hyperparameters("lora", "cola").micro_batch_size is None


def test_advice_on_launches_expects_what_graphs_were_measured_to_take():
    frame = steps(
        task="cola", rows=16, tokens=16, execution=["eager", "graphs"], full_ms=[40.0, 5.0], lora_ms=[40.0, 3.0],
        time=[1.0, 0.6], waits_for="launches", waiting=0.87,
    )  # fmt: skip
    for execution in ("eager", "graphs"):
        eager, _ = advised(frame, "bf16", execution, lower=None)
        assert "its step takes 0.07 of this time, and 0.60 of that of full fine-tuning" in eager
        assert ("`snakemake" in eager) == (execution == "eager")  # else the study has them
        assert execution == "graphs" or study_by(eager).train.cuda_graphs == "auto"
