"""Folders that no results may go to, paths that no file can have, and names that share files: refused by their key."""

import json
import re
import time

import pytest
from builders import DEFAULT, changed

from lora_core.commands.studies import load_study
from lora_core.config import config_file, yaml_values
from lora_core.config.checks import name_errors
from lora_core.config.config_file import read_config_file
from lora_core.config.errors import ConfigError
from lora_core.data.tasks import TASKS
from lora_core.layout import Layout, paths_of
from lora_core.nearest import MAX_DESCRIBED, MAX_LISTED, nearest

TASK = {"path": "folder", "texts": ["text"]}


def refused_study(**changes) -> list[str]:
    """The errors of a study, one short line each."""
    with pytest.raises(ConfigError) as caught:
        load_study(changed(**changes))
    _, *errors = str(caught.value).splitlines()
    assert all(len(error) < 3000 for error in errors)
    return [error.removeprefix("  - ") for error in errors]


# --- the results folder ----------------------------------------------------------------------------------------------

LOCAL = {"source": "local", "path": "mine/data"}
READ = [
    ({"data": LOCAL}, "data.path"),
    ({"model": LOCAL}, "model.path"),
    ({"task_settings": {"t": TASK | {"path": "mine/data"}}}, "task_settings.t.path"),
]


@pytest.mark.parametrize(("changes", "key"), READ, ids=[key for _, key in READ])
def test_results_and_what_a_study_reads_are_not_in_one_another(tmp_path, monkeypatch, changes, key):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine/data").mkdir(parents=True)
    (tmp_path / "link").symlink_to("mine/data")
    inside = f"lies in the folder that {key} names; name a folder for results alone"
    around = f"holds what {key} names; name a folder for results alone"
    for folder, message in {
        "mine/data/results": inside, "mine/data/a/b": inside, str(tmp_path / "mine/data/results"): inside,
        "link/results": inside, "mine": around, "mine/data": around, "link": around,
    }.items():  # fmt: skip
        assert f"results_dir: {folder!r} {message}" in refused_study(results_dir=folder, **changes)
    assert load_study(changed(results_dir="mine/results", **changes)).results_dir == "mine/results"


SYSTEM = [
    *("/etc", "/usr", "/bin", "/boot", "/dev", "/proc", "/sys", "/sbin", "/var", "/lib", "/lib64", "/lib32", "/libx32"),
    *("/etc/results", "/usr/lib/results", "/usr/share/a/b", "/dev/results", "/proc/self/cwd/results", "/sys/x"),
    *("//etc", "/ETC", "/home", "/opt", "/run", "/tmp", "/dev/shm", "/usr/local"),
    *("/var/cache", "/var/lib", "/var/log", "/var/lib/", "/var/opt", "/var/spool", "/var/tmp"),
]


@pytest.mark.parametrize("folder", SYSTEM)
def test_a_folder_of_the_system_holds_no_results(folder):
    (error,) = refused_study(results_dir=folder)
    # Some of them hold the project, or the home directory.
    assert re.fullmatch(
        rf"results_dir: '{folder.rstrip('/')}/?' is (a folder of the system|the .*, or holds it); name a .*", error
    )


@pytest.mark.parametrize(
    "folder", ["/dev/shm/results", "/usr/local/results", "/var/data/results", "/library/results", "/var/tmp/results"]
)
def test_a_folder_of_a_user_among_those_of_the_system_holds_results(folder):
    assert load_study(changed(results_dir=folder)).results_dir == folder


def test_a_project_below_a_system_folder_as_in_a_container_has_results_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lora_core.config.results_folder.SHARED_FOLDERS", {str(tmp_path.parent), str(tmp_path)})
    assert load_study(changed(results_dir="results")).results_dir == "results"
    (error,) = refused_study(results_dir=str(tmp_path.parent / "."))
    assert "holds it" in error


@pytest.mark.parametrize("folder", ["lora_core.egg-info", "a/x.EGG-INFO", "x.dist-info", "results/__pycache__"])
def test_a_folder_of_pythons_tools_holds_no_results(folder):
    (error,) = refused_study(results_dir=folder)
    assert "is a folder that Python's tools make and remove" in error


# --- paths -----------------------------------------------------------------------------------------------------------

PATHS = {
    "results_dir": lambda path: {"results_dir": path},
    "data.path": lambda path: {"data": {"source": "local", "path": path}},
    "model.path": lambda path: {"model": {"source": "local", "path": path}},
    "task_settings.t.path": lambda path: {"task_settings": {"t": TASK | {"path": path}}},
    "model.path of a wheel": lambda path: {"model__path": path},
}
UNUSABLE = {
    "\ud800": "no path can have the character '\\ud800'", "a/\udfffb": "no path can have the character '\\udfff'",
    "a\0b": "no path can have the character '\\x00'", "": "the path is empty", "  ": "the path is empty",
}  # fmt: skip


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("path", UNUSABLE)
def test_a_path_that_no_file_can_have_is_refused_by_its_key(key, path):
    (error,) = refused_study(**PATHS[key](path))
    assert error.startswith(f"{key.partition(' ')[0]}: {UNUSABLE[path]}")
    error.encode()  # as a terminal needs it


def test_half_a_character_in_a_file_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"results_dir": "\\ud800"}')
    (error,) = refused_study(**read_config_file(tmp_path / "a.json"))
    assert error.startswith("results_dir: no path can have the character '\\ud800'")
    (tmp_path / "b.yaml").write_text('results_dir: "\\ud800"')
    with pytest.raises(ConfigError, match=r"b\.yaml: .*line 1: found invalid Unicode character"):
        read_config_file(tmp_path / "b.yaml")


# --- thousands of names ----------------------------------------------------------------------------------------------

MANY = [f"unknown{number}" for number in range(1000)]
LISTS = {
    "methods": ({"methods": MANY}, "methods: and 980 more unknown names"),
    "tasks": ({"tasks": MANY}, "tasks: and 980 more unknown names"),
    "more_tables": ({"more_tables": MANY}, "more_tables: and 980 more unknown names"),
    "tasks of a method": (
        {"method_settings__lora__task_hyperparameters": {name: {} for name in MANY}},
        "method_settings: and 980 more unknown names",
    ),
    "keys": (dict.fromkeys(MANY, 1), "and 980 more errors, of which 980 are unknown names"),
    "keys of a method": (
        {"method_settings__lora": {"kind": "lora"} | dict.fromkeys(MANY, 1)},
        "and 980 more errors, of which 980 are unknown names",
    ),
    "kinds": (
        {"method_settings": DEFAULT["method_settings"] | {name: {"kind": name} for name in MANY}},
        "and 980 more errors, of which 980 are unknown names",
    ),
}


@pytest.mark.parametrize("names", LISTS)
def test_of_a_thousand_unknown_names_the_first_are_described_and_the_others_counted(names, monkeypatch):
    calls = []
    for module in ("lora_core.nearest", "lora_core.config.errors", "lora_core.config.checks"):
        monkeypatch.setattr(f"{module}.nearest", lambda *arguments: calls.append(1) or nearest(*arguments))
    changes, last = LISTS[names]
    began = time.process_time()
    errors = refused_study(**changes)
    assert time.process_time() - began < 5
    assert last in errors
    assert len(calls) <= MAX_DESCRIBED
    assert sum("unknown" in error or "no entry" in error for error in errors) == MAX_DESCRIBED + 1


def test_a_known_name_among_thousands_is_found_and_a_long_list_is_cut_off():
    names = [f"method{number}" for number in range(5000)]
    assert nearest("methd17", names) == "; did you mean 'method17'?"
    assert nearest("zzz", names).endswith(f"method{MAX_LISTED - 1} and {5000 - MAX_LISTED} more")


def test_sweeps_that_share_thousands_of_names_are_refused_at_once():
    sweep = {"kind": "lora", "sweep": {"rank": [4] * 30, "alpha": [8] * 30}}
    began = time.process_time()
    errors = refused_study(**{f"method_settings__s{number}": sweep for number in range(10)}, methods=["s1"] * 3000)
    assert time.process_time() - began < 5
    assert any("a sweep makes a method of the same name as another: s0-rank4-alpha8" in error for error in errors)
    more = {f"method_settings__s{number}": sweep for number in range(12)}
    assert "10800 combinations of all sweeps are too many (at most 10000)" in refused_study(**more)[0]


def test_a_sweep_that_is_listed_twice_is_refused_as_any_other_entry():
    sweep = {"kind": "lora", "sweep": {"rank": [4, 8]}}
    (error,) = refused_study(method_settings__s=sweep, methods=["s", "s"])
    assert error.startswith("methods: an entry is listed twice in ['s-rank4', 's-rank8', 's-rank4']")


@pytest.mark.parametrize("name", ["plain.yaml", "flow.yaml", "list.json", "keys.json"])
def test_a_file_of_too_many_plain_values_is_not_blamed_on_aliases(tmp_path, monkeypatch, name):
    for module in (config_file, yaml_values):
        monkeypatch.setattr(module, "MAX_VALUES", 100)
    texts = {
        "plain.yaml": "x:\n" + "- 1\n" * 150, "flow.yaml": f"x: [{', '.join(['a'] * 150)}]",
        "list.json": json.dumps({"x": [1] * 150}), "keys.json": json.dumps({str(i): i for i in range(75)}),
    }  # fmt: skip
    (tmp_path / name).write_text(texts[name])
    with pytest.raises(ConfigError, match=r": 15[13] values are too many for a configuration") as caught:
        read_config_file(tmp_path / name)
    assert "alias" not in str(caught.value)


def test_aliases_that_make_too_many_values_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(yaml_values, "MAX_VALUES", 100)
    (tmp_path / "a.yaml").write_text(f"a: &a [{', '.join(['1'] * 20)}]\nx: [{', '.join(['*a'] * 20)}]")
    with pytest.raises(ConfigError, match=r"aliases make [0-9]+ values of these lines"):
        read_config_file(tmp_path / "a.yaml")


# --- names of the same files -----------------------------------------------------------------------------------------

SHARED = [
    (["a", "A_differences"], "task_settings.A_differences: its files have the names of files of the task 'a'"),
    (["A", "a_curve"], "task_settings.a_curve: its files have the names of files of the task 'A'"),
    (["A_DIFFERENCES", "a"], "task_settings.a: its files have the names of files of the task 'A_DIFFERENCES'"),
    (["COLA_curve"], "task_settings.COLA_curve: its files have the names of files of the task 'cola'"),
    (["Rte_Differences"], "task_settings.Rte_Differences: its files have the names of files of the task 'rte'"),
    (["a", "A"], "task_settings: 'a' and 'A' differ only in capitals and would share files; rename one"),
]


@pytest.mark.parametrize(("names", "message"), SHARED, ids=["+".join(names) for names, _ in SHARED])
def test_tasks_whose_files_would_be_the_same_without_capitals_are_refused(names, message):
    errors = refused_study(task_settings=dict.fromkeys(names, TASK))
    assert [error for error in errors if error.startswith("task_settings")] == [
        message.partition("; rename")[0] + ("; rename it" if "its files" in message else "; rename one")
    ]


def test_names_that_only_look_alike_have_files_of_their_own():
    names = ["a", "a_difference", "a-curve", "differences", "a_curve_", *TASKS]
    assert not list(name_errors(changed(task_settings=dict.fromkeys(names[:5], TASK)), []))
    paths = [path.casefold() for name in names for path in paths_of("task", name)]
    assert len(paths) == len(set(paths))


def test_every_path_with_a_name_in_it_is_compared():
    layout = Layout("")
    patterns = [value for name in dir(Layout) if isinstance(value := getattr(layout, name), str)]
    for wildcard in ("task", "method"):
        with_name = {pattern for pattern in patterns if f"{{{wildcard}}}" in pattern}
        assert {f"/{path}" for path in paths_of(wildcard, f"{{{wildcard}}}")} == with_name
        assert len(with_name) > 10
