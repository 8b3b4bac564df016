"""Untrusted input: harmful adapters, names and texts are refused or have no effect."""

import ast
import csv
import html
import io
import json
import os
import re
import shutil
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import DEFAULT, ROOT, changed
from safetensors.numpy import load_file, save_file

from lora_core.commands import bundle_archive, cli, environment, failures, verify_bundle
from lora_core.config import preflight
from lora_core.config.config_file import read_config_file
from lora_core.config.description import StudyDescription
from lora_core.config.study import ConfigError, load
from lora_core.console import Console
from lora_core.csv_cells import as_text, from_text, read_frame, write_frame
from lora_core.job_records import JobError
from lora_core.layout import Layout
from lora_core.methods import patterns
from lora_core.methods.merging import merge_adapter
from lora_core.plain_text import plain
from lora_core.reporting.figures import canvas, rows, svg
from lora_core.reporting.page.figure_svg import read_svg
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
        ({"modules_to_save": [1]}, r"modules_to_save is \[1\]; expected a list of names"),
        ({"modules_to_save": [["a"]]}, r"modules_to_save is \[\['a'\]\]; expected a list of names"),
        ({"target_modules": [1]}, r"target_modules is \[1\]; expected a name or a list of names"),
        ({"target_modules": {"a": 1}}, "target_modules is {'a': 1}; expected a name or a list of names"),
        ({"exclude_modules": 3}, "exclude_modules is 3; expected a name or a list of names"),
        ({"layers_to_transform": "x"}, "layers_to_transform is 'x'; expected a layer's number or a list of them"),
        ({"layers_to_transform": [True]}, r"layers_to_transform is \[True\]; expected a layer's number"),
        ({"base_model_name_or_path": 5}, "base_model_name_or_path is 5; expected a name on the hub, or a folder"),
        ({"revision": {"a": 1}}, "revision is {'a': 1}; expected a text"),
        ({"task_type": 5}, "task_type is 5; expected a text"),
        ({"lora_alpha": True}, "lora_alpha is True; expected a number"), ({"r": True}, "r is True; expected a number"),
        ({"lora_alpha": 10**400}, r"lora_alpha 10{119}\.\.\.; expected a positive integer and a number"),
        ({"r": 10**30}, "r is 10* and lora_alpha .*; expected a positive integer"),
        ({"lora_dropout": False, "alpha_pattern": 3}, "alpha_pattern is 3; expected a number for each pattern"),
        ({"lora_dropout": True}, "lora_dropout is True; expected a probability below 1"),
        ({"rank_pattern": {"query": "8"}}, "rank_pattern is {'query': '8'}; expected a number for each pattern"),
        ({"alpha_pattern": {"(": 3}}, r"adapter_config.json: alpha_pattern: '\(' is no regular expression \(missing"),
        ({"target_modules": "(query"}, r"target_modules: '\(query' is no regular expression"),
        ({"rank_pattern": {"a{99999999999}": 3}}, r"rank_pattern: 'a\{99999999999\}' is no regular expression"),
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


def test_a_merged_model_whose_weights_are_infinite_is_refused_by_the_tensor(bert, adapter, tmp_path):
    def too_large(part, value, dtype):
        return lambda t: t.update({n: np.full(t[n].shape, value, dtype) for n in t if part in n})

    query = "bert.encoder.layer.0.attention.self.query.weight"
    for change, name in [
        (too_large("lora_", 1e30, np.float32), query),  # A and B are finite, B A is not
        (too_large("classifier.weight", 1e300, np.float64), "classifier.weight"),  # which float32 does not have
    ]:
        changed = shutil.copytree(adapter, tmp_path / name)
        change_tensors(changed, change)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            refused(bert, changed, tmp_path / "merged", f"the merged model's '{re.escape(name)}' is not finite")


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
    "text",
    ["<script>alert(1)</script>", "a|b", "50%_x", r"\input{/etc/passwd}", "`x`", "[x](javascript:y)", r"a\|b", "a\rb"],
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
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3  # a backslash before a backslash escapes no bar
    assert not re.search(
        r"(?<!\\)[%_]", latex.split("\\begin{tabular}")[-1].split("\\end{tabular}")[0].replace("% ", "")
    )
    assert "\\input" not in latex


@pytest.fixture
def members():
    """The files of a bundle of one run, as far as it is checked before anything is drawn."""
    study = load(changed(methods=["fft"], tasks=["cola"], seeds=[1], references={}))
    config = study.model_dump(mode="json", exclude_unset=True) | {"results_dir": "results"}
    files = {"bundle.json": b'{"format": 2}', "config.json": json.dumps(config).encode(), "requirements.lock": b""}
    records = [*verify_bundle._records(study), Layout.gradients.format(method="fft")]
    return files | {f"results/{name}": b"{}" for name in records}


@pytest.fixture
def laid_out(monkeypatch):
    """The files that Snakemake would find, with their contents; nothing is drawn."""
    found = {}

    def note(archive, folder):
        found.update({str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()})

    monkeypatch.setattr(verify_bundle, "_draw", note)
    monkeypatch.setattr(verify_bundle, "outdated_results", lambda study: {})  # the records are made up
    return found


def zipped(path, members, *more):
    """An archive of these files, then of more: pairs of a name, or its zipfile.ZipInfo, and a content."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, content in (*members.items(), *more):
            archive.writestr(name, content)
    return path


def archive_refused(archive, message):
    with pytest.raises(ValueError, match=message) as caught:
        verify_bundle.verify(archive)
    assert archive.name in str(caught.value)
    assert str(caught.value).isprintable(), "one sentence on one line"


def test_only_raw_records_and_a_configuration_written_anew_reach_the_folder_of_snakemake(members, laid_out, tmp_path):
    drawn = ("results/tables/table2.md", "results/scores/cola.csv", "results/report.html")
    unread = ("results/runs/fft/cola/seed1/README.md", "results/runs/fft/cola/seed1/progress.json")  # of format 1
    archive = zipped(tmp_path / "b.zip", members, *((name, b"99.9") for name in (*drawn, *unread)))
    differences = verify_bundle.verify(archive)
    assert differences == dict.fromkeys(sorted(drawn), "is not made from it")
    assert set(laid_out) == set(members) - {"bundle.json", "requirements.lock"}
    assert laid_out["config.json"] != members["config.json"]
    assert load(json.loads(laid_out["config.json"])) == load(json.loads(members["config.json"]))


@pytest.mark.parametrize(
    "name",
    [
        "snakemake/__main__.py", "sitecustomize.py", "lora_core/__init__.py", "config.yaml", "Snakefile",
        "profiles/default/config.yaml", "default/config.yaml", ".snakemake/lora_core_digests.json", "pyvenv.cfg",
        "./results/tables/table2.md", "results//tables/table2.md", "results/./tables/table2.md",
        "results/tables/../tables/table2.md", "../results/tables/table2.md", "/results/tables/table2.md",
        "results\\tables\\table2.md", "C:results/tables/table2.md", "Results/tables/table2.md",
        "results/tables/table2.md/", "results/tables/", "results/tables/table2.md\n", "results/tables/table2.md\0.py",
        "results/tables/.md", "results/tables/-rf.md", "results/tables/tab\x1ble.md", "results/tables/täble.md",
        "results/tables/a/b.md", "results/runs/fft/cola/seed1/weights/model.safetensors", "results/table2.py",
        "results/runs/fft/cola/x/seed1/run.json", "results/runs/fft/cola/seedx/run.json",
        "results/models/../config.json",
        f"results/tables/{'a' * 300}.md", "inner.zip", "results/inner.zip",
    ],
)  # fmt: skip
def test_an_archive_with_a_file_that_no_bundle_has_is_refused_by_its_name(members, laid_out, tmp_path, name):
    info = zipfile.ZipInfo("placeholder")
    info.filename = name  # zipfile would cut it at a null character
    archive_refused(zipped(tmp_path / "b.zip", members, (info, b"raise SystemExit")), "is not a file that a bundle has")
    assert not laid_out


@pytest.mark.parametrize("name", ["results/tables/table2.md", "results/tables/TABLE2.md"])
def test_an_archive_has_each_name_once_in_whatever_case(members, laid_out, tmp_path, name):
    more = [("results/tables/table2.md", b"11.7"), (name, b"99.9")]
    archive_refused(zipped(tmp_path / "b.zip", members, *more), "is there twice")
    assert not laid_out


def member(name="results/tables/table2.md", compress_type=zipfile.ZIP_DEFLATED, mode=0):
    info = zipfile.ZipInfo(name)
    info.compress_type, info.external_attr = compress_type, mode << 16
    return info


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (member(mode=stat.S_IFLNK | 0o777), "is not a regular file"),
        (member(mode=stat.S_IFIFO | 0o666), "is not a regular file"),
        (member(compress_type=zipfile.ZIP_LZMA), "is compressed in a way"),
        (member(compress_type=zipfile.ZIP_BZIP2), "is compressed in a way"),
    ],
)
def test_an_archive_with_a_link_or_another_compression_is_refused(members, laid_out, tmp_path, info, message):
    archive_refused(zipped(tmp_path / "b.zip", members, (info, b"../../elsewhere")), message)
    assert not laid_out


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_FILE_BYTES", 5000, r"table2\.md' has 10,000 bytes, and at most 5,000 are read"),
        ("MAX_BYTES", 5000, "its files have .* bytes, and a bundle has at most 5,000"),
        ("MAX_RATIO", 1, r"is \d times as large as in the archive, and at most 1 times is accepted"),
        ("MAX_FILES", 5, "it holds .* files, and a bundle has at most 5"),
        ("MAX_SETTINGS_BYTES", 10, "'bundle.json' has 13 bytes, and at most 10 are read"),
    ],
)
def test_an_archive_beyond_a_limit_is_refused_before_a_file_is_written(
    members, laid_out, tmp_path, monkeypatch, limit, value, message
):
    text = " ".join(map(str, range(3000)))[:10_000].encode()
    archive = zipped(tmp_path / "b.zip", members, ("results/tables/table2.md", text))
    verify_bundle.verify(archive)
    assert archive.stat().st_size < 10_000
    laid_out.clear()
    monkeypatch.setattr(bundle_archive, limit, value)
    monkeypatch.setattr(
        verify_bundle.tempfile, "TemporaryDirectory", lambda: pytest.fail("there is a folder for files")
    )
    archive_refused(archive, message)
    assert not laid_out


def test_a_file_that_would_grow_a_hundredfold_is_refused_and_predictions_with_equal_labels_are_not(members, tmp_path):
    small, large = (bytes(50) * times for times in (20, 400))
    name = "results/runs/fft/cola/seed1/predictions.safetensors"
    with bundle_archive.open_archive(zipped(tmp_path / "b.zip", members | {name: small})):
        pass
    archive_refused(zipped(tmp_path / "c.zip", members | {name: large}), "times as large as in the archive")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_archive_is_not_said_to_be_deleted(tmp_path, kind):
    path = tmp_path / "study"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    archive_refused(path, "study is not a ZIP file; name the one that `lora-core bundle` wrote")


def edited(archive, offset_in_entry, value):
    """Overwrite a field of every entry in the archive's directory."""
    content = bytearray(archive.read_bytes())
    for match in re.finditer(rb"PK\x01\x02", bytes(content)):
        start = match.start() + offset_in_entry
        content[start : start + len(value)] = value
    archive.write_bytes(content)
    return archive


def test_an_archive_whose_directory_lies_about_sizes_is_refused(members, laid_out, tmp_path):
    archive_refused(edited(zipped(tmp_path / "b.zip", members), 24, struct.pack("<I", 1)), "damaged")
    archive_refused(edited(zipped(tmp_path / "c.zip", members), 24, struct.pack("<I", 200)), "damaged")
    assert not laid_out


def test_an_encrypted_archive_is_refused(members, tmp_path):
    archive_refused(edited(zipped(tmp_path / "b.zip", members), 8, struct.pack("<H", 1)), "is encrypted")


@pytest.mark.parametrize("part", [0, 10, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_archive_is_refused(members, tmp_path, part):
    archive = zipped(tmp_path / "b.zip", members)
    content = archive.read_bytes()
    archive.write_bytes(content[: part if part > 1 else int(part * len(content))])
    archive_refused(archive, "is not a zip file or is damaged")


def test_an_archive_with_a_flipped_byte_is_refused_in_one_sentence_or_read_as_before(members, laid_out, tmp_path):
    archive = zipped(tmp_path / "b.zip", members)
    original, refusals = archive.read_bytes(), []
    for position in range(0, len(original), 7):
        content = bytearray(original)
        content[position] ^= 0xFF
        archive.write_bytes(content)
        try:
            verify_bundle.verify(archive)
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) > len(original) / 14
    assert [text for text in refusals if archive.name not in text or not text.isprintable()] == []


def test_an_archive_inside_an_archive_is_not_opened(members, tmp_path):
    inner = zipped(tmp_path / "inner.zip", members)
    archive_refused(zipped(tmp_path / "b.zip", {"inner.zip": inner.read_bytes()}), "not a file that a bundle has")
    record = {"results/counts.json": inner.read_bytes(), "config.json": inner.read_bytes()}
    archive_refused(zipped(tmp_path / "c.zip", members | record), "config.json cannot be read")


CONFIGURATIONS = {
    "a list": "[]",
    "not JSON": "{",
    "not text": b"\xff",
    "YAML": "a: &a [x]",
    "deeply nested": "[" * 100_000,
    "a deep value": '{"model": {"source": "random", "config": ' + '{"a":' * 60 + "1" + "}" * 62,
    "a number that JSON lacks": '{"seeds": [NaN]}',
    "nothing": "{}",
    "types": '{"model": 5, "data": [], "tasks": {"a": 1}, "methods": 3, "method_settings": [], "task_settings": 4}',
    "an object as a name": '{"protocol": {}, "methods": [[]], "tasks": [{}], "seeds": [{}], "method_settings": {"a": 1}}',  # noqa: E501
}


@pytest.mark.parametrize("content", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_an_archives_configuration_is_one_of_the_closed_schema(members, laid_out, tmp_path, content):
    archive_refused(zipped(tmp_path / "b.zip", members | {"config.json": content}), "config.json")
    assert not laid_out


def test_an_archives_configuration_cannot_multiply_its_methods(members, laid_out, tmp_path):
    config = json.loads(members["config.json"])
    sweep = {f"hyperparameters.a{n}": [1, 2] for n in range(20)}
    config["method_settings"]["many"] = {"kind": "lora", "sweep": sweep}
    archive_refused(zipped(tmp_path / "b.zip", members | {"config.json": json.dumps(config)}), "has a sweep")


@pytest.mark.parametrize(
    "path", ["/elsewhere", "../../elsewhere", "..", "/", "", "a/..", "~/x", "a{task}", "a\nb\0", "-rf"]
)
def test_an_archives_configuration_cannot_name_a_folder(members, laid_out, tmp_path, path):
    config = json.loads(members["config.json"])
    config["results_dir"] = "/elsewhere"
    config["data"] = {"source": "local", "path": path}
    config["task_settings"] = {"mine": {"path": path, "texts": ["text"]}}
    identity = {"model": config["model"], "data": {"source": "local", "path": path}}
    changes = {"config.json": json.dumps(config), "results/study.json": json.dumps(identity)}
    verify_bundle.verify(zipped(tmp_path / "b.zip", members | changes))
    written = json.loads(laid_out["config.json"])
    assert written["results_dir"] == "results"
    folder = written["data"]["path"]
    assert re.fullmatch(r"not-in-the-bundle/[A-Za-z0-9._-]+", folder)
    assert folder != "not-in-the-bundle/.."
    assert written["task_settings"]["mine"]["path"] == folder
    assert json.loads(laid_out["results/study.json"])["data"]["path"] == folder
    assert all(name.startswith(("results/", "not-in-the-bundle/")) or name == "config.json" for name in laid_out)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.zip"]


def test_a_bundle_of_format_1_has_no_file_that_says_so(members, laid_out, tmp_path):
    del members["bundle.json"]
    assert verify_bundle.verify(zipped(tmp_path / "b.zip", members)) == {}
    assert "config.json" in laid_out


def test_a_bundle_without_records_of_gradients_is_drawn_as_one_in_which_nobody_tried(members, laid_out, tmp_path):
    members = {name: content for name, content in members.items() if "/gradients/" not in name}
    assert verify_bundle.verify(zipped(tmp_path / "b.zip", members)) == {}
    assert json.loads(laid_out["results/gradients/fft.json"])["outputs"] == []


@pytest.mark.parametrize("version", ["3", "0", "-1", "true", '"2"', "null", "[]", "2.0"])
def test_a_bundle_of_another_format_is_refused(members, laid_out, tmp_path, version):
    changes = {"bundle.json": f'{{"format": {version}}}'}
    archive_refused(zipped(tmp_path / "b.zip", members | changes), "has the bundle format .* reads up to 2")
    assert not laid_out


def test_an_archive_that_lacks_a_record_is_refused_by_its_name(members, tmp_path):
    del members["results/runs/fft/cola/seed1/power.csv"]
    archive_refused(zipped(tmp_path / "b.zip", members), r"lacks results/runs/fft/cola/seed1/power\.csv")


def test_snakemake_finds_no_module_and_no_profile_in_its_folder(monkeypatch, tmp_path):
    for name in ("snakemake", "json", "encodings"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a module of the folder')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('a module of the folder')")
    (tmp_path / "profiles" / "default").mkdir(parents=True)
    (tmp_path / "profiles" / "default" / "config.yaml").write_text("cores: not a number\n")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("PYTHONPATH", f".{os.pathsep}{ROOT}")
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "profiles/default")
    with pytest.raises(ValueError, match=r"b\.zip: its records cannot be drawn: .*the configuration lacks"):
        verify_bundle._draw(Path("b.zip"), tmp_path)


HARMFUL_SVG = {
    "a script": "<script>alert(1)</script>",
    "a script with an address": '<script xlink:href="data:text/javascript,alert(1)"/>',
    "a script in a definition": "<defs><script>alert(1)</script></defs>",
    "a script of HTML": '<script xmlns="http://www.w3.org/1999/xhtml">alert(1)</script>',
    "a handler": '<g onload="alert(1)" onclick="alert(1)"><path d="M 0 0"/></g>',
    "a link": '<a xlink:href="javascript:alert(1)"><text>click</text></a>',
    "foreign content": '<foreignObject><iframe xmlns="http://www.w3.org/1999/xhtml" src="x:alert(1)"/></foreignObject>',
    "an image": '<image xlink:href="http://host.invalid/alert(1)"/>',
    "a foreign shape": '<use xlink:href="http://host.invalid/alert(1)#a"/><use href="data:image/svg+xml,alert(1)#a"/>',
    "an animation": '<set attributeName="onmouseover" to="alert(1)"/><animate attributeName="href" to="alert(1)"/>',
    "a style": "<style>body { display: none } @import 'alert(1)';</style>",
    "styles": '<g style="fill: url(http://host.invalid/alert(1)); position: fixed; stroke: \\75rl(alert(1))"/>',
    "text that HTML would read": "<title>&lt;/title>&lt;img onerror=alert(1)></title><text>&lt;script>alert(1)</text>",
    "a title with elements": "<title><style>&lt;img src=x onerror=alert(1)></style></title>",
    "a comment": "<!-- --><!--><img src=x onerror=alert(1)>-->",
    "an instruction": '<?xml-stylesheet href="javascript:alert(1)"?>',
    "an attribute that ends": '<g data-method="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"/>',
    "the id of another element": '<g id="curves"><text>alert(1)</text></g>',
}  # fmt: skip


@pytest.mark.parametrize("part", HARMFUL_SVG.values(), ids=HARMFUL_SVG)
def test_a_figure_in_the_page_is_shapes_and_text(tmp_path, part):
    from html.parser import HTMLParser

    file = tmp_path / "scores.svg"
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    file.write_text(f'<svg {namespaces} onload="alert(1)">{part}<path d="M 1 2"/></svg>')
    found = []

    class Elements(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.append((tag, dict(attrs)))

    Elements().feed(read_svg(file))
    assert found[0] == ("svg", {})
    assert found[-1] == ("path", {"d": "M 1 2"})
    names = {name for _, attributes in found for name in attributes}
    assert {tag for tag, _ in found} <= {"svg", "g", "defs", "path", "use", "text", "title"}
    assert names <= {"d", "style", "id", "data-method"}
    assert {attributes["style"] for _, attributes in found if "style" in attributes} <= {""}
    assert {attributes["id"] for _, attributes in found if "id" in attributes} <= {"figure-scores-curves"}


@pytest.mark.parametrize(
    "text",
    [
        "", "<html></html>", "<svg", "\0", '<svg xmlns="http://www.w3.org/1999/xhtml"/>', "<svg/>",
        '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><svg xmlns="http://www.w3.org/2000/svg">&b;</svg>',
    ],
)  # fmt: skip
def test_what_is_no_figure_is_refused_by_name(tmp_path, text):
    (tmp_path / "scores.svg").write_text(text)
    with pytest.raises(ValueError, match=r"scores\.svg is not a figure"):
        read_svg(tmp_path / "scores.svg")


@pytest.mark.parametrize("text", ["a $x$ b", r"$\\bad{$ b", "$", r"a \$ b", "<b>&amp;</b>"])
def test_a_figure_shows_a_text_as_it_is(tmp_path, text):
    figure, (panel,) = canvas.panels([text])
    panel.plot([1, 1000], [0, 1], label=text)
    panel.set_xscale("log")
    rows.name_rows(panel, [text])
    canvas.add_note(figure, canvas.missing_note({"time": [text]}))
    canvas.set_title(figure, text)
    canvas.add_legend(figure, [panel])
    svg.save_svg(figure, tmp_path / "f.svg")
    shown = [html.unescape(t) for t in re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "f.svg").read_text())]
    assert shown.count(text) == 4  # heading, row, title, legend
    assert f"n/a: {text} (time)." in shown
    assert not any("mathdefault" in t for t in shown), "ticks of powers of ten"


FORMULAS = (
    "=1+1", "+1+1", "-1+1", "@SUM(1)", " =1+1", "\t=1+1", "\n=1+1", "=", "-", "\uff1d1", "'=1+1", "-inf",
    "-1 +1", "-1 (a1)", "-1 [=1]", "-2+3+cmd|' /C calc'!A0", "-1 % of A1",
)  # fmt: skip
PLAIN = (
    "-0.3", "+1.5e-3", "-.5", "-7", "-1 %", "-0.3 ± 0.1", "-1.2 [-3.0, +0.6]",
    "", "'", "it's", "a=b", "3 - 2", "NVIDIA H100",
)  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_in_a_csv_file_is_no_formula_and_is_read_back_as_it_was(tmp_path, text):
    assert as_text(text).startswith("'")
    assert from_text(as_text(text)) == text
    write_frame(tmp_path / "f.csv", pd.DataFrame({"device": [text, "cpu"], "value": [-0.5, None], "n": [-1, 2]}))
    frame = pd.read_csv(tmp_path / "f.csv")
    assert frame["device"][0] == as_text(text)
    assert list(frame["n"]) == [-1, 2]
    assert frame["value"][0] == -0.5
    assert list(read_frame(tmp_path / "f.csv")["device"]) == [text, "cpu"]


@pytest.mark.parametrize("value", [*PLAIN, -0.5, -3, None, True, float("-inf")])
def test_numbers_and_other_texts_in_a_csv_file_stay_as_they_are(value):
    assert as_text(value) is value
    assert from_text(value) is value


def test_no_cell_of_a_tables_csv_is_a_formula(tmp_path):
    harmful = "=HYPERLINK(1)"
    cells = [Cell(harmful, harmful, value, text, method=harmful, unit=harmful, note=harmful)
             for value, text in ((-0.5, "-0.5"), ("-a", "-0.5 ± 0.1"), (None, "n/a"))]  # fmt: skip
    files = TableFiles.at(tmp_path / "t")
    study = StudyDescription("m", "d", "p", [1], "random", False, [])
    write_table(Table("table9", "T", "method", cells, [harmful]), study, files)
    with files.csv.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert len(rows) == 3
    texts = [text for row in rows for text in row]
    assert [t for t in texts if t[:1] in tuple("=+-@") and t not in ("-0.5", "-0.5 ± 0.1")] == []
    assert [row[header.index("value")] for row in rows] == ["-0.5", "'-a", ""]


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


# Files in an adapter's folder that are not a model's.


def test_a_pickle_in_an_adapters_folder_is_not_copied_into_the_merged_model(bert, adapter, tmp_path, capsys):
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "weights.pkl", "modeling.py"):
        (adapter / name).write_bytes(b"\x80\x04.")
    (adapter / "folder").mkdir()
    merge_adapter(bert, adapter, None, tmp_path / "merged")
    expected = {file.name for file in bert.iterdir()} | {"merge.json"}
    assert {file.name for file in (tmp_path / "merged").iterdir()} == expected
    assert f"{adapter / 'weights.pkl'} is left out of the merged model" in capsys.readouterr().err


def link(path, secret):
    path.symlink_to(secret)


def hard_link_to_a_pipe(path, secret):
    os.mkfifo(secret.with_name("pipe"))
    path.hardlink_to(secret.with_name("pipe"))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"])
@pytest.mark.parametrize(
    ("put", "message"),
    [
        (link, "is a symbolic link, which is not followed"),
        (lambda path, secret: path.symlink_to("nowhere"), "is a symbolic link, which is not followed"),
        (hard_link_to_a_pipe, "is not a regular file"),
        (lambda path, secret: path.mkdir(), "is not a regular file"),
    ],
    ids=["link", "dangling link", "pipe", "folder"],
)
def test_a_link_in_an_adapters_folder_is_not_followed(bert, adapter, tmp_path, name, put, message):
    secret = tmp_path / "secret"
    secret.write_text("a secret")
    (adapter / name).unlink(missing_ok=True)
    put(adapter / name, secret)
    refused(bert, adapter, tmp_path / "merged", message)


def test_a_link_that_is_no_file_of_a_model_is_left_out(bert, adapter, tmp_path):
    (tmp_path / "secret").write_text("a secret")
    (adapter / "notes").symlink_to(tmp_path / "secret")
    merge_adapter(bert, adapter, None, tmp_path / "merged")
    assert not (tmp_path / "merged" / "notes").exists()


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


# What a terminal would obey: clear the screen, set the title (also as one character of 8 bits), write backwards.
OBEYED = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"
SHOWN = r"\x1b[2J\x1b]0;owned\x07\x9b31m\u202e"


def test_texts_are_shown_as_they_are_but_for_what_a_terminal_obeys():
    plain_texts = "Zürich\t好 \U0001f600\nn/a ≥ 3\u3000\u00a0±"
    assert plain(plain_texts) == plain_texts
    assert plain(OBEYED) == SHOWN
    assert plain("a\0b\ud800c\r\u2028") == r"a\x00b\ud800c\r\u2028"


def of_own_file(folder, content, file="train.csv"):
    (folder / "validation.csv").write_text("text,label\na,x\nb,y\n")
    (folder / "train.csv").write_text("text,label\na,x\nb,y\n")
    (folder / file).write_text(content)
    tasks = {"mine": {"path": str(folder), "texts": ["text"], "label": "label"}}
    return load(changed(tasks=["mine"], task_settings=tasks, results_dir=str(folder.parent / "results")))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("train.csv", f"{OBEYED},label\na,x\n"),
        ("train.csv", f"text,label\na,{OBEYED}\nb,y\n"),
        ("validation.csv", f"text,label\na,{OBEYED}\nb,y\n"),
        ("train.csv", "\0" * 5000),
    ],
    ids=["column", "class", "label", "zeros"],
)
def test_an_error_about_data_does_nothing_to_the_terminal(tmp_path, file, content):
    (tmp_path / "data").mkdir()
    study = of_own_file(tmp_path / "data", content, file)
    with pytest.raises(ValueError, match="data/") as caught:
        preflight.check_content(study, dry_run=True)
    line = environment.describe(caught.value)
    assert line.isprintable()
    assert SHOWN in line or r"\x00" in line
    assert len(line) < 2100


def test_what_commands_and_jobs_print_does_nothing_to_the_terminal(tmp_path, capsys):
    assert cli.main(["compare", str(tmp_path / OBEYED.replace("/", "")), "x"]) == 1
    assert SHOWN in (error := capsys.readouterr().err)
    assert error.removesuffix("\n").isprintable()
    terminal = io.StringIO()
    Console(terminal).print(f"train failed: {OBEYED}")
    assert terminal.getvalue() == f"train failed: {SHOWN}\n"
    assert failures.advise(JobError("ValueError", OBEYED)) == SHOWN


@pytest.mark.parametrize("character", ["\x1b", "\x9b", "\u2028", "\u202e", "\u2066"], ids=ascii)
def test_a_label_has_nothing_that_a_terminal_obeys(character):
    with pytest.raises(ConfigError, match=r"method_settings.lora.label: string should match pattern"):
        load(changed(method_settings__lora__label=f"LoRA{character}31m"))
