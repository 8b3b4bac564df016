"""Untrusted input: harmful adapters, names and texts are refused or have no effect."""

import ast
import json
import re
import shutil
import struct

import numpy as np
import pytest
from builders import DEFAULT, ROOT, changed
from safetensors.numpy import load_file, save_file

from lora_core.config.config_file import read_config_file
from lora_core.config.description import StudyDescription
from lora_core.config.study import ConfigError, load
from lora_core.methods import patterns
from lora_core.methods.merging import merge_adapter
from lora_core.reporting.rendering import TableFiles, write_table
from lora_core.reporting.table import Cell, Table

SOURCES = [
    file
    for pattern in ("lora_core/**/*.py", "workflow/**/*.py", "workflow/**/*.smk", "**/Snakefile")
    for file in ROOT.glob(pattern)
    if ".venv" not in file.parts
]


@pytest.fixture
def adapter(lora_run, tmp_path):
    """A valid adapter without the record of a run."""
    return shutil.copytree(lora_run / "weights", tmp_path / "adapter")


def refused(base, adapter, out, message):
    with pytest.raises(ValueError, match=message):
        merge_adapter(base, adapter, None, out)
    assert not out.exists()


def test_a_valid_adapter_merges(bert, adapter, tmp_path):
    merge_adapter(bert, adapter, None, tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "content", [struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2**27) + b"{" * 100, b"", b"\x80\x04."]
)
def test_a_header_that_lies_about_its_size_is_refused(bert, adapter, tmp_path, content):
    (adapter / "adapter_model.safetensors").write_bytes(content)
    refused(
        bert, adapter, tmp_path / "merged", r"adapter_model\.safetensors cannot be read .*only complete safetensors"
    )


def change_tensors(adapter, change):
    tensors = load_file(adapter / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"base_model.model.bert.pooler.dense.weight": np.zeros((32, 32), np.float32)}),
         "made for another model or other settings"),
        (lambda t: t.update({next(n for n in t if "lora_A" in n): np.zeros((5, 32), np.float32)}),
         r"shape \(5, 32\) at rank 4"),
        (lambda t: t.pop(next(n for n in t if "lora_B" in n)), "does not fit the base model"),
        (lambda t: t.update({"base_model.model.elsewhere.lora_A.weight": np.zeros((4, 8), np.float32)}),
         "'elsewhere' does not fit the base model"),
    ],
    ids=["extra tensor", "wrong shape", "half a pair", "unknown module"],
)  # fmt: skip
def test_tensors_that_do_not_belong_are_refused(bert, adapter, tmp_path, change, message):
    change_tensors(adapter, change)
    refused(bert, adapter, tmp_path / "merged", message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"r": -1}, "r is -1"), ({"r": "8; rm"}, "r is '8; rm'"), ({"lora_alpha": None}, "lora_alpha None"),
        ({"peft_type": "IA3"}, "PEFT rejects this configuration of IA3"),
        ({"peft_type": "PICKLE"}, "PEFT has no 'PICKLE'"), ({"peft_type": None}, "peft_type is missing"),
        ({"modules_to_save": "classifier"}, "modules_to_save is"), ({"modules_to_save": 5}, "modules_to_save is 5"),
        ({"use_dora": True}, "made for another model or other settings"),
        ({"base_model_name_or_path": "org/distil-bert"}, "made for the base model 'org/distil-bert', not for 'bert'"),
        ({"base_model_name_or_path": "another/model"}, "made for the base model 'another/model', not for 'bert'"),
        ({"modules_to_save": ["bert"]}, "No modules were targeted"),
    ],
)  # fmt: skip
def test_an_adapters_configuration_is_checked(bert, adapter, tmp_path, settings, message):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    refused(bert, adapter, tmp_path / "merged", message)


@pytest.mark.parametrize(("name", "shape"), [("bert.pooler.new.weight", (32, 32)), ("bert.pooler.dense.bias", (7,))])
def test_foreign_parameters_replace_those_of_their_name_and_shape_alone(bert, adapter, tmp_path, name, shape):
    change_tensors(adapter, lambda t: (t.clear(), t.update({name: np.zeros(shape, np.float32)})))
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "BITFIT", "base_model_name_or_path": "bert"}))
    refused(bert, adapter, tmp_path / "merged", f"holds '{name}', which the base model")


def test_an_adapter_cannot_name_a_part_of_the_base_model_its_head(bert, adapter, tmp_path):
    change_tensors(adapter, lambda t: t.update({"base_model.model.bert.pooler.dense.bias": np.zeros(32, np.float32)}))
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"modules_to_save": ["classifier", "bert"]}))
    refused(bert, adapter, tmp_path / "merged", r"would replace 'bert\.pooler\.dense\.bias' of the base model")


NAMES = [
    "../up",
    "a/b",
    "a b",
    "a'b",
    'a"b',
    "a\nb",
    "-rf",
    ".hidden",
    "$(id)",
    "a;b",
    "a|b",
    "<script>",
    "ü",
    "",
    "a\0b",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_becomes_a_path_or_an_argument_has_plain_characters_only(name):
    entries = DEFAULT["method_settings"] | {name: {"kind": "lora"}}
    with pytest.raises(ConfigError, match="should match pattern"):
        load(changed(method_settings=entries, methods=["fft", name]))


@pytest.mark.parametrize("folder", ["-rf", "~/x", "a{task}", "a'b", "a`id`", "$HOME", "a\nb"])
def test_a_results_folder_has_plain_characters_only(folder):
    with pytest.raises(ConfigError, match="results_dir"):
        load(changed(results_dir=folder))


@pytest.mark.parametrize("path", ["../../elsewhere", "/etc"])
def test_a_wheels_path_stays_inside_the_package(path):
    with pytest.raises(ConfigError, match=r"model\.path"):
        load(changed(model__path=path))


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "a|b", "50%_x", r"\input{/etc/passwd}", "`x`", "[x](javascript:y)"]
)
def test_text_cannot_break_out_of_a_table(tmp_path, text):
    table = Table("table9", "T", "method", [Cell(text, text, 1.0, text)], [text])
    files = TableFiles.at(tmp_path / "t")
    write_table(table, StudyDescription(text, text, text, [1], text, False, [text]), files)
    markdown, latex = files.md.read_text(), files.tex.read_text()
    assert "<script" not in markdown
    assert "](javascript" not in markdown
    row = next(
        line for line in markdown.splitlines() if line.startswith("| ") and "---" not in line and "method" not in line
    )
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    assert not re.search(
        r"(?<!\\)[%_]", latex.split("\\begin{tabular}")[-1].split("\\end{tabular}")[0].replace("% ", "")
    )
    assert "\\input" not in latex


def test_nothing_is_unpickled_and_no_downloaded_code_runs():
    calls = {"torch.load", "pickle.load", "pickle.loads", "joblib.load", "np.load", "eval", "exec"}
    for file in SOURCES:
        text = file.read_text()
        assert "trust_remote_code=True" not in text
        if file.suffix != ".py":
            assert not re.search(r"^\s*(?:shell|run):", text, re.MULTILINE), f"{file}: nothing goes through a shell"
        else:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call):
                    assert ast.unparse(node.func) not in calls, file
                    if ast.unparse(node.func).endswith("from_pretrained") and "Auto" in ast.unparse(node.func):
                        arguments = {keyword.arg for keyword in node.keywords}
                        assert "trust_remote_code" in arguments, f"{file}: {ast.unparse(node)}"


def test_aliases_cannot_make_millions_of_values_of_a_few_lines(tmp_path):
    file = tmp_path / "config.yaml"
    lines = [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 21)]
    file.write_text("a0: &a0 [x]\n" + "".join(lines))
    with pytest.raises(ConfigError, match=r"aliases make \d+ values of these lines"):
        read_config_file(file)


def test_a_pattern_of_an_adapter_cannot_keep_the_workflow_busy(bert, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(patterns, "LIMIT_SECONDS", 0.3)
    path = adapter / "adapter_config.json"
    changes = {"use_dora": True, "target_modules": "(.|.){15}!"}  # fails after 2^15 attempts for each module
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(bert, adapter, tmp_path / "merged", r"target_modules: the pattern .* takes more than 0\.3 s")
