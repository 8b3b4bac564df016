"""Configurations that go wrong: each is refused in one sentence, before any job and within seconds."""

import json
import os
import re
import time

import pytest
from builders import BERT, DEFAULT, ROOT, changed
from project import Project

from lora_core.commands import cli
from lora_core.commands.studies import load_study
from lora_core.config import config_file
from lora_core.config.config_file import read_config_file
from lora_core.config.errors import ConfigError
from lora_core.config.results_folder import PROJECT_FOLDERS
from lora_core.layout import Layout
from lora_core.methods import patterns, registry

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 20))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 20))
# The content of a file, and what is wrong with it.
UNREADABLE = {
    "a python tag": ("results_dir: !!python/object/apply:os.getcwd []", "line 1: the tag '!!python/object/apply:os"),
    "a tag of a type": ("results_dir: !!binary aGVsbG8=", "the tag '!!binary' is not supported"),
    "tabs": ("train:\n\tdevice: cpu", "line 2: .*; indent with spaces, not tabs"),
    "NUL": ("results_dir: a\0b", r"line 1: the control character '\\x00' is not allowed"),
    "a list": ("- a\n- b", "expected keys and values"),
    "nothing": ("", "expected keys and values"),
    "a comment alone": ("# nothing", "expected keys and values"),
    "a scalar": ("hello", "expected keys and values"),
    "a number": ("5", "expected keys and values"),
    "two documents": ("seeds: [1]\n---\nseeds: [2]", "line 2: "),
    "Latin-1": ("seeds: [1]\nresults_dir: é".encode("latin-1"), "line 2: this is not UTF-8"),
    "UTF-16": ("seeds: [1]".encode("utf-16"), "this is not UTF-8"),
    "an open bracket": ("seeds: [1", "not valid YAML or JSON"),
    "an unknown alias": ("seeds: *x", "line 1: found undefined alias"),
    "a template": ("__use_yte__: true\nresults_dir: ?1+1", "'__use_yte__' runs code"),
    "a list as a key": ("{[1, 2]: 3}", "line 1: a list or a mapping cannot be a key"),
    "itself": ("data: &a {x: *a}", "or contain themselves"),
    "too deep": (f"x: {'[' * 60}{']' * 60}", "nested more than 50 deep"),
    "far too deep": (f"x: {'[' * 6000}{']' * 6000}", "maximum nesting depth"),
    "far too deep in JSON": (f'{{"x": {"[" * 6000}{"]" * 6000}}}', "nested too deeply"),
    "a long value": (f"x: {'1' * 5000}", "a value of 5000 characters is too long"),
    "a long number in JSON": (f'{{"x": {"1" * 5000}}}', "a number is too long"),
    "a wrong merge": ("x: {<<: 3}", "line 1: expected a mapping"),
    "no number after all": ("x: !!int five", 'write "five"'),
    "aliases of aliases": (BOMB, "aliases make [0-9]+ values of these lines"),
    "merged aliases": (MERGE_BOMB, "aliases make [0-9]+ values of these lines"),
    "a key twice": ("seeds: [1]\nseeds: [2]", "line 2: the key 'seeds' is given twice .first in line 1"),
    "a key twice inside": ("train: {device: cpu, device: cuda}", "the key 'device' is given twice"),
    "a key twice in JSON": ('{"train": {"device": 1, "device": 2}}', "the key 'device' is given twice"),
}  # fmt: skip


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """A function that says what `lora-core` prints about a file over config.yaml: one line, and no traceback."""
    monkeypatch.chdir(ROOT)

    def message(file) -> str:
        assert cli.main(["results-dir", "--configfile", str(file)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return message


@pytest.mark.parametrize("fault", UNREADABLE)
def test_a_file_that_is_no_configuration_is_refused_in_one_sentence(tmp_path, refused, fault):
    content, message = UNREADABLE[fault]
    file = tmp_path / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.monotonic()
    assert re.search(message, refused(file))
    assert time.monotonic() - began < 20


def test_json_with_a_trailing_comma_is_refused_by_the_line(tmp_path, refused):
    file = tmp_path / "mine.json"
    file.write_text('{\n"seeds": [1, 2,]\n}')
    assert "mine.json: line 2: not valid JSON" in refused(file)


def test_what_is_not_a_file_is_refused(tmp_path, refused):
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    (tmp_path / "circle.yaml").symlink_to("circle.yaml")
    (tmp_path / "large.yaml").write_text("# " + "x" * config_file.MAX_BYTES)
    for name, message in {
        "folder": "this is a folder", "pipe": "a device or a pipe", "large": "too many for a configuration",
        "link": "this link leads to 'nowhere', which does not exist", "circle": "this link leads to",
    }.items():  # fmt: skip
        assert message in refused(tmp_path / f"{name}.yaml")


def test_config_yaml_itself_is_held_to_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    (tmp_path / "config.yaml").symlink_to("nowhere")
    assert cli.main(["results-dir", "--configfile", "mine.yaml"]) == 1
    assert capsys.readouterr().err.startswith("config.yaml: this link leads to 'nowhere'")


AMBIGUOUS = {
    "010": '8 or "010"', "-010": '-8 or "-010"', "08": '8 or "08"', "0o10": '8 or "0o10"', "0b11": '3 or "0b11"',
    "1:30": '90 or "1:30"', "1:20.5": '80.5 or "1:20.5"', "1_000": '1000 or "1_000"', "1_0.5": '10.5 or "1_0.5"',
    "yes": 'true or "yes"', "No": 'false or "No"', "on": 'true or "on"', "OFF": 'false or "OFF"',
    "2026-01-31": '"2026-01-31"', "2026-13-45": '"2026-13-45"',
}  # fmt: skip


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_a_value_that_programs_read_differently_is_refused_with_what_to_write(tmp_path, refused, text):
    file = tmp_path / "mine.yaml"
    for content in (f"x: {text}", f"x: [1, {text}]", f"x: {{{text}: 1}}"):
        file.write_text(content)
        message = refused(file)
        assert f": the unquoted value `{text}` is ambiguous, because programs read it differently; " in message
        assert message.endswith(f"write {AMBIGUOUS[text]}")
    for quoted in (f"'{text}'", f'"{text}"'):
        file.write_text(f"x: {quoted}")
        assert read_config_file(file) == {"x": text}


def test_values_that_every_program_reads_alike_are_read(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("x: [0, -5, +1, 1.5, 1.0e-3, 1e-3, 0x1F, true, False, null, ~, text, 'yes', a:b, 0.5]")
    expected = [0, -5, 1, 1.5, 1e-3, "1e-3", 31, True, False, None, None, "text", "yes", "a:b", 0.5]
    assert read_config_file(file)["x"] == expected
    aliases = "a: &a {rank: 4}\nx: [" + ", ".join(["*a"] * 24) + "]\ny: {<<: *a, alpha: 8}"
    file.write_text(aliases)
    assert read_config_file(file)["x"] == [{"rank": 4}] * 24
    assert read_config_file(file)["y"] == {"rank": 4, "alpha": 8}


def test_all_errors_of_all_files_are_reported_together(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("seeds: [010]\nx: yes\nseeds: 1")
    second.write_text("- a")
    assert cli.main(["results-dir", "--configfile", str(first), str(second)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 4


@pytest.mark.parametrize("content", [b"x: \xe9", b"x: {<<: *x}", BOMB.encode()])
def test_make_tables_refuses_a_file_before_snakemake_reads_it(tmp_path, monkeypatch, capsys, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_bytes(content)
    makefile = (ROOT / "Makefile").read_text()
    assert "\t@$(BIN)/lora-core unlock $(OVERLAY)\n\t@$(SNAKEMAKE)\n" in makefile
    assert cli.main(["unlock", "--configfile", "mine.yaml"]) == 1
    assert capsys.readouterr().err.startswith("mine.yaml: ")


INFINITE, HUGE = float("inf"), 10**30
SECONDS = ("measure__sample_seconds", "measure__latency_seconds", "train__checkpoint_seconds")
CONFIG = {"peft_type": "LORA", "target_modules": ["query"]}
REFUSED_VALUES = [
    ({"seeds": [HUGE]}, ["seeds.0: .*less than or equal to 4294967295"]),
    ({"seeds": [True]}, ["seeds.0: true and false are not numbers"]),
    ({"seeds": ["010"]}, ["seeds.0: write the number without a leading zero"]),
    ({"seeds": [1, "1"]}, ["seeds: an entry is listed twice"]),
    ({"model": {"source": "random", "config": BERT, "seed": HUGE}}, ["model.seed: "]),
    ({"model": {"source": "random", "config": {"model_type": "../x"}}}, ["model.config.model_type: expected the name"]),
    ({"data__max_train_examples": HUGE}, ["data.max_train_examples: a number of at most"]),
    ({"data__max_length": True}, ["data.max_length: true and false are not"]),
    ({"method_settings__lora__rank": True}, ["method_settings.lora.rank: true and false are not"]),
    ({"method_settings__lora__alpha": INFINITE}, ["method_settings.lora.alpha: "]),
    *(
        ({"method_settings__lora__hyperparameters": {name: value}}, [f"lora.hyperparameters.{name}: {message}"])
        for name in ("learning_rate", "max_grad_norm", "weight_decay", "adam_epsilon", "loraplus_lr_ratio", "epochs")
        for value, message in [
            (True, "true and false are not numbers"), ("010", "write the number without a leading zero"),
            (HUGE if name == "epochs" else INFINITE, "a finite number|input should be less than or equal to"),
            ("1e400", "input should be|a finite number"),
        ]
    ),
    (
        dict.fromkeys(SECONDS, INFINITE),
        ["sample_seconds: input should be", "latency_seconds: input should be", "train.checkpoint_seconds: a finite"],
    ),
    ({"method_settings__x": {"kind": "peft", "config": CONFIG | {"r": HUGE}}}, ["x.config.r: a number of at most"]),
    ({"method_settings__x": {"kind": "peft", "config": CONFIG | {"lora_alpha": "1e400"}}}, ["config.lora_alpha: a "]),
    ({"method_settings__x": {"kind": "peft", "config": CONFIG | {"y": [{"z": INFINITE}]}}}, ["x.config.y.0.z: a fin"]),
    ({"method_settings__x": {"kind": "peft", "config": CONFIG | {"y": json.loads("[" * 80 + "]" * 80)}}}, ["50 deep"]),
    ({"method_settings__s": {"kind": "lora", "sweep": {"rank": [4, INFINITE]}}, "methods": ["s"]}, ["s-rankinf.rank"]),
    (
        {"method_settings__s": {"kind": "lora", "sweep": {"hyperparameters.learning_rate": [True]}}},
        ["learning_rate: true and false are not"],
    ),
    (
        {"method_settings__s": {"kind": "lora", "sweep": {"rank": [*range(1, 99)], "alpha": [*range(1, 99)]}}},
        ["method_settings.s.sweep: 9604 combinations are too many"],
    ),
    *(
        ({key: value}, [f"{key.replace('__', '.')}: input should be (less|greater) than or equal to [0-9.]+ .given: "])
        for key, value in {
            "measure__idle_seconds": 1e30, "measure__sample_seconds": 1e-300, "measure__latency_seconds": 1e300,
            "train__threads": 4_000_000_000, "model_card__grid_co2_grams_per_kwh": 1e300,
            "method_settings__lora__alpha": 1e308,
        }.items()
    ),
    *(
        ({"method_settings__lora__hyperparameters": {name: value}}, [f"{name}: input should be less than or equal to"])
        for name, value in {"learning_rate": 1e300, "weight_decay": 1e300, "loraplus_lr_ratio": 1e300,
                            "epochs": 4_000_000_000}.items()
    ),
    (
        {"resources__measured": {"mem_mb": True, "runtime": HUGE}},
        ["mem_mb: true and false are not", "runtime: a number of at"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "messages"), REFUSED_VALUES)
def test_a_value_that_cannot_be_meant_is_refused_by_its_key(changes, messages):
    errors = refused_study(**changes)
    assert len(errors) == len(messages)
    for message in messages:
        assert any(re.search(message, error) for error in errors), errors


def refused_study(**changes) -> list[str]:
    """The errors of a study, one line each."""
    with pytest.raises(ConfigError) as caught:
        load_study(changed(**changes))
    count, *errors = str(caught.value).splitlines()
    assert count == f"{len(errors)} error(s) in the configuration:"
    assert all(len(error) < 600 for error in errors)
    return errors


TASK = {"path": "folder", "texts": ["text"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method_settings__LoRA": {"kind": "lora"}}, "method_settings: 'lora' and 'LoRA' differ only in capitals"),
        (
            {"method_settings__s": {"kind": "lora", "sweep": {"targets": [["query"], ["Query"]]}}, "methods": ["s"]},
            "'s-query' and 's-Query' differ only in capitals",
        ),
        ({"task_settings": {"CoLA": TASK}}, "task_settings: 'cola' and 'CoLA' differ only in capitals"),
        ({"task_settings": {"mine": TASK, "Mine": TASK}}, "task_settings: 'mine' and 'Mine' differ only in capitals"),
        ({"task_settings": {"cola_curve": TASK}}, "task_settings.cola_curve: its files have the names of files of"),
        ({"task_settings": {"a": TASK, "a_differences": TASK}}, "task_settings.a_differences: its files have"),
        ({"method_settings": DEFAULT["method_settings"] | {"ab" * 125: {"kind": "full"}}}, "at most 100 characters"),
        ({"method_settings__s": {"kind": "lora", "sweep": {"targets": [["q" * 99]]}}}, "at most 100 characters"),
        ({"method_settings": DEFAULT["method_settings"] | {"a" * 20: {"kind": "full"}}}, "repeats 'a' too often"),
        ({"method_settings": DEFAULT["method_settings"] | {"x" + "ab" * 20: {"kind": "full"}}}, "repeats '(ab|ba)'"),
        ({"task_settings": {"a" * 200: TASK}}, "at most 100 characters"),
    ],
)  # fmt: skip
def test_a_name_that_cannot_be_a_file_of_its_own_is_refused(changes, message):
    assert any(re.search(message, error) for error in refused_study(**changes))


@pytest.mark.parametrize("blank", [" ", "\n", "\r", "\t", "\u00a0", "\u2028", "\u3000"], ids=ascii)
def test_a_name_with_a_blank_does_not_replace_the_entry_without_it(blank):
    entry, model = {"kind": "lora", "rank": 2}, {"source": "random", "config": {f"hidden_size{blank}": 8}}
    peft = {"kind": "peft", "config": {"peft_type": "LORA", "r": 8, f"r{blank}": 2}}
    for changes, key, name in [
        ({"method_settings__lora" + blank: entry}, "method_settings", f"lora{blank}"),
        ({f"method_settings__{blank}lora": entry}, "method_settings", f"{blank}lora"),
        ({"task_settings": {"mine": TASK, f"mine{blank}": TASK}}, "task_settings", f"mine{blank}"),
        ({"model": model}, "model.config", f"hidden_size{blank}"),
        ({"method_settings__other": peft}, "method_settings.other.config", f"r{blank}"),
    ]:  # fmt: skip
        (error,) = refused_study(**changes)
        assert error == f"  - {key}: the name {name!r} begins or ends with a blank or a line break; remove it"


def test_paths_keep_the_parts_of_a_name_apart():
    layout = Layout("results")
    for pattern in {value for name in dir(Layout) if isinstance(value := getattr(layout, name), str)}:
        if "{method}" in pattern:
            one, other = ({"method": "a-b", "task": "c"}, {"method": "a", "task": "b-c"})
            assert pattern.format(**one, seed=1) != pattern.format(**other, seed=1), pattern


FOLDERS = {
    "/": "the whole file system", "//": "the whole file system", ".": "the folder of the project",
    "./": "the folder of the project", "..": "'..' is not supported", "results/../..": "'..' is not supported",
    "a/../b": "'..' is not supported", "lora_core": "belongs to the project", "LORA_CORE/x": "belongs to the project",
    str(ROOT / "workflow" / "x"): "belongs to the project", str(ROOT.parent): "the folder of the project, or holds it",
    "config.yaml": "is not a folder", "README.md/results": "is not a folder", "r/" + "x" * 256: "too long for the file",
    "x/" * 1900 + "x": "too long for the file",
    **dict.fromkeys(sorted(PROJECT_FOLDERS), "belongs to the project"),
}  # fmt: skip


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_results_folder_is_for_results_alone(monkeypatch, folder):
    monkeypatch.chdir(ROOT)
    (error,) = refused_study(results_dir=folder)
    assert error.startswith("  - results_dir: ")
    assert FOLDERS[folder] in error


def test_results_do_not_go_where_a_link_leads_to_the_project_or_a_home_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    (tmp_path / "home" / "me").mkdir(parents=True)
    for name, target in {"link": ROOT / "tests", "nowhere": "nothing"}.items():
        (tmp_path / name).symlink_to(target)
    for folder, message in {
        "link": "belongs to the project", "link/x": "belongs to the project", "nowhere": "is a link to 'nothing'",
        "home/me": "the home directory", str(tmp_path / "home"): "the home directory",
    }.items():  # fmt: skip
        assert message in refused_study(results_dir=folder)[0]
    assert load_study(changed(results_dir="home/me/results")).results_dir == "home/me/results"


def test_results_do_not_go_where_the_study_reads_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    local = {"source": "local", "path": "mine/data"}
    for changes, key in [
        ({"data": local}, "data.path"), ({"model": local}, "model.path"),
        ({"task_settings": {"t": TASK | {"path": str(tmp_path / "mine")}}}, "task_settings.t.path"),
    ]:  # fmt: skip
        errors = refused_study(results_dir="mine", **changes)
        assert any(f"results_dir: 'mine' holds what {key} names" in error for error in errors)


def test_the_folders_of_the_project_are_all_known():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    ignored = {"results", "shared"} | {name for name in folders if name.endswith(("cache", "__", ".egg-info"))}
    assert folders - ignored <= PROJECT_FOLDERS


# It fails after 2^15 attempts for each name of a module, a second for all of them.
SLOW = "(.|.){15}!"


@pytest.mark.parametrize(
    ("key", "value"),
    [("target_modules", SLOW), ("exclude_modules", SLOW), ("rank_pattern", {SLOW: 4}), ("layers_pattern", [SLOW])],
)
def test_a_pattern_that_takes_too_long_is_refused_by_its_key(bert, monkeypatch, key, value):
    monkeypatch.setattr(patterns, "LIMIT_SECONDS", 0.3)
    config = CONFIG | ({"layers_to_transform": [0]} if key == "layers_pattern" else {}) | {key: value}
    settings = registry.settings_from_params({"kind": "peft", "config": config})
    with pytest.raises(ValueError, match=rf"^{key}: the pattern '\(\.\|\.\)\{{15\}}!' takes more than 0.3 s"):
        registry.build_without_weights(bert, 2, settings)


def test_a_usual_pattern_is_matched(bert):
    settings = registry.settings_from_params(
        {"kind": "peft", "config": CONFIG | {"target_modules": ".*[.](query|value)"}}
    )
    model = registry.build_without_weights(bert, 2, settings)
    assert sum(name.endswith("lora_A.default.weight") for name, _ in model.named_parameters()) == 4


@pytest.mark.faults
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x: \xe9", "config.yaml: line 1: this is not UTF-8"),
        (BOMB.encode(), "config.yaml: aliases make"),
        (None, "config.yaml: this is a device or a pipe"),
    ],
)
def test_snakemake_refuses_what_its_own_reader_would_misread_or_break_on(tmp_path, content, message):
    project = Project(tmp_path / "project")
    file = project.folder / "config.yaml"
    file.unlink()
    if content is None:
        os.mkfifo(file)
    else:
        file.write_bytes(content)
    check_refusal(project, message)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [1]\nseeds: [2]", "mine.yaml: line 2: the key 'seeds' is given twice"),
        ("seeds: [010]", 'write 8 or "010"'),
        (BOMB, "mine.yaml: aliases make"),
        ("a: !!python/name:os.getcwd", "is not supported; only plain values are"),
    ],
)
def test_snakemake_refuses_such_a_file_over_config_yaml(tmp_path, content, message):
    project = Project(tmp_path / "project")
    (project.folder / "mine.yaml").write_text(content)
    check_refusal(project, message, overlay="mine.yaml")


@pytest.mark.faults
def test_snakemake_refuses_such_values_on_its_command_line(tmp_path):
    project = Project(tmp_path / "project")
    status, output = project.run(
        "-n", "--config", "seeds=[1,1e400]", "results_dir=workflow", "measure={sample_seconds: inf}"
    )
    assert status != 0
    for message in ("results_dir: 'workflow' belongs to", "seeds.1: ", "measure.sample_seconds: input should be less"):
        assert message in output
    assert "Traceback" not in output


ARGUMENTS = {
    "measure={latency_seconds: 5, latency_seconds: 7}": "measure: the key 'latency_seconds' is given twice; remove one",
    "train={threads: 1_0}": (
        "--config train: the unquoted value `1_0` is ambiguous, because programs read it differently; write 10"
    ),
    "seeds=[01]": (
        '--config seeds: the unquoted value `01` is ambiguous, because programs read it differently; write 1 or "01"'
    ),
    "seeds=08": (
        '--config seeds: the unquoted value `08` is ambiguous, because programs read it differently; write 8 or "08"'
    ),
    "seeds=1_0": (
        '--config seeds: the unquoted value `1_0` is ambiguous, because programs read it differently; write 10 or "1_0"'
    ),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_an_argument_that_snakemake_misreads_is_refused_as_in_a_file(argument):
    with pytest.raises(ConfigError) as caught:
        config_file.check_arguments(["results_dir=results", argument])
    (line,) = str(caught.value).splitlines()
    assert ARGUMENTS[argument] in line


def test_a_key_of_two_arguments_is_refused_and_all_errors_are_reported():
    with pytest.raises(ConfigError) as caught:
        config_file.check_arguments(["seeds=1", "seeds=2", "train={threads: 1_0}"])
    first, second = str(caught.value).splitlines()
    assert first == "--config seeds: the key is given twice; remove one"
    assert second.startswith("--config train: the unquoted value `1_0` is ambiguous")


def test_arguments_that_mean_one_thing_pass():
    config_file.check_arguments(
        ["seeds=[1, 2]", "train={device: cpu, threads: null}", "measure={simulated: yes}", "results_dir=2026-01-31",
         "results_dir2=", "a={b", "method_settings={lora: {hyperparameters: {learning_rate: 1e-3}}}"]
    )  # fmt: skip


@pytest.mark.faults
def test_snakemake_refuses_arguments_that_it_would_misread(tmp_path):
    project = Project(tmp_path / "project")
    status, output = project.run("-n", "--config", "seeds=1", "seeds=2", *list(ARGUMENTS)[:2])
    assert status != 0
    for message in ("--config seeds: the key is given twice; remove one", *list(ARGUMENTS.values())[:2]):
        assert message in output
    assert "Traceback" not in output


def check_refusal(project, message, **arguments):
    before = set(project.folder.rglob("*"))
    status, output = project.run("-n", **arguments)
    assert status != 0
    assert message in output
    assert "Traceback" not in output
    assert {file for file in set(project.folder.rglob("*")) - before if ".snakemake" not in file.parts} == set()
