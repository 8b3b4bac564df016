"""The command `lora-core`: what it accepts, what it imports, and one sentence for a mistake."""

import json
import re
import subprocess
import sys

import pytest

from lora_core.code_digest import ROOT
from lora_core.commands import cli, studies
from lora_core.commands.studies import read_study


def run(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "lora_core.commands.cli", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_schema_is_the_committed_one():
    result = run("schema")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == json.loads((ROOT / "config" / "schema.json").read_text())


def test_an_overlay_says_where_results_go(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert cli.main(["results-dir"]) == 0
    assert cli.main(["results-dir", "--configfile", "config/paper.yaml"]) == 0
    assert cli.main(["results-dir", "--configfile", "config/paper.yaml", "config/demo.yaml"]) == 0
    assert capsys.readouterr().out.split() == ["results", "results/paper", "results/demo"]


def test_protocols_are_compared_on_the_page_as_the_command_prints_them(capsys):
    assert cli.main(["protocols"]) == 0
    assert capsys.readouterr().out in (ROOT / "docs" / "protocols.md").read_text()


# What readers of JSON and YAML read differently and is not refused: exponents, tabs, anchors, no end of line.
OVERLAYS = {
    "tabs.json": '{\n\t"train": {"alpha": [1e-3, 2E-5, 1.0e-3]},\n\t"both": {"json": 1}\n}',
    "numbers.yaml": "numbers: [1e-3, 1.0e-3, 2e5, 0x1F, .5, .inf]\nwords: [true, ~, '1e-3', 'yes']\n",
    "nested.yaml": "both: &a {yaml: 1, deep: {x: 1}}\ncopy: *a\ntrain: {seeds: [1]}",
    "flow.yml": '{"both": {"deep": {"y": "é"}}, "train": null}',
}


def test_commands_read_a_configuration_as_snakemake_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("train: {alpha: [1], epochs: 3}\nboth: {base: 0, json: 0}\n")
    for name, text in OVERLAYS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "Snakefile").write_text(
        'configfile: "config.yaml"\n'
        'import json, pathlib\npathlib.Path("read.json").write_text(json.dumps(config))\n'
        "rule all:\n    shell: 'true'\n"
    )
    command = [sys.executable, "-m", "snakemake", "--list-rules", "--configfile", *OVERLAYS]
    subprocess.run(command, check=True, capture_output=True)
    ours = []
    monkeypatch.setattr(studies, "load_study", lambda config, overlay: ours.append(config))
    read_study([*OVERLAYS])
    theirs = json.loads((tmp_path / "read.json").read_text())
    assert json.dumps(ours[0], sort_keys=True) == json.dumps(theirs, sort_keys=True)  # as text, 1 is not 1.0


def test_a_whole_configuration_needs_no_config_yaml(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    assert cli.main(["results-dir", "--configfile", "mine.yaml"]) == 0
    (tmp_path / "mine.yaml").write_text("seeds: [1]")
    assert cli.main(["results-dir", "--configfile", "mine.yaml"]) == 1
    assert "has no config.yaml that would set them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "--configfile", "absent.yaml"], "absent.yaml: No such file or directory"),
        (["status", "--configfile", "wrong.yaml"], "wrong.yaml: not valid YAML"),
        (["status", "--configfile", "list.yaml"], "list.yaml: expected keys and values"),
        (["status", "--configfile", "key.yaml"], "methds: unknown key"),
        (["compare", "a", "b"], "a has no run.json under runs/"),
        (["verify-bundle", "absent.zip"], "absent.zip: No such file or directory"),
        (["verify-bundle", "list.yaml"], "not a zip file"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_failure(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_bytes((ROOT / "config.yaml").read_bytes())
    for name, text in {"wrong": "a: [", "list": "- a", "key": "methds: []"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_an_option_of_snakemake_is_not_taken_for_a_configuration_file(capsys):
    with pytest.raises(SystemExit):
        cli.parse_arguments(["summary", "--config", "results_dir=other"])
    assert "unrecognized arguments: --config results_dir=other" in capsys.readouterr().err


def test_an_unknown_command_is_refused_with_those_that_exist(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["statsu"])
    assert stop.value.code == 2
    assert "status" in capsys.readouterr().err


def test_asking_for_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['lora-core', '--help']\n"
        "from lora_core.commands import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'pandas', 'pydantic', 'yaml', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_without_the_packages_of_the_workflow_a_command_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    for module in ("lora_core.commands.studies", "lora_core.config.config_file"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert cli.main(["results-dir"]) == 1
    error = capsys.readouterr().err
    start, _, advice = error.partition("): ")
    assert start.startswith("the workflow's packages are missing (import of yaml")
    # The Snakefile says the same; it cannot import the sentence from a package that is missing.
    snakefile = (ROOT / "workflow" / "rules" / "common.smk").read_text()
    assert advice.strip() in re.sub(r'"\n\s*"', "", snakefile)
    assert error.count("\n") == 1


@pytest.mark.parametrize(("name", "suggested"), [("demo", "config/demo.yaml"), ("config/dmo.yaml", "config/demo.yaml")])
@pytest.mark.parametrize("command", ["unlock", "status", "summary"])
def test_a_configuration_file_that_does_not_exist_is_named_with_the_nearest(
    capsys, monkeypatch, command, name, suggested
):
    monkeypatch.chdir(ROOT)
    assert cli.main([command, "--configfile", name]) == 1
    assert capsys.readouterr().err == f"{name}: No such file or directory; did you mean {suggested!r}?\n"


def limited(shell, *arguments, program=("-m", "lora_core.commands.cli"), **environment):
    """Run the command, or another program, in a shell that has changed its limits or files."""
    command = ["sh", "-c", f'{shell}; exec "$@"', "sh", sys.executable, *program, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"} | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_a_closed_standard_output_is_said_and_not_written_to():
    result = limited("exec >&-", "schema")
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("standard output is closed; run the command with one")


def test_too_little_memory_for_a_package_is_one_sentence():
    result = limited("ulimit -v 300000", "summary")
    assert result.returncode == 1
    assert re.fullmatch(r"(a package cannot be loaded \(.*ulimit -v.*|out of memory.*)\n", result.stderr)


BUSY = """
import sys
from lora_core.commands import cli
def busy(options):
    while True:
        pass
cli._status = busy
sys.argv = ["lora-core", "status"]
cli.main()
"""


@pytest.mark.parametrize("seconds", [1, 4])
def test_a_limit_on_processor_time_is_named_before_the_process_is_killed(seconds):
    result = limited(f"ulimit -t {seconds}", program=("-c", BUSY))
    assert result.returncode == 1
    assert result.stderr.startswith("the limit on processor time is reached (ulimit -t): raise it and run")


PRINTING = """
import sys
from lora_core.commands import cli
cli._schema = lambda options: print("\\xe9 \\u2265")
sys.argv = ["lora-core", "schema"]
sys.exit(cli.main())
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_terminal_without_a_character_shows_it_in_ascii():
    result = limited(":", program=("-c", PRINTING), **ASCII)
    assert (result.returncode, result.stdout, result.stderr) == (0, "\\xe9 \\u2265\n", "")


def test_a_locale_without_a_character_of_a_path_is_named_with_what_to_set(tmp_path):
    (tmp_path / "mine.yaml").write_text("results_dir: é\n", encoding="utf-8")
    result = limited(":", "results-dir", "--configfile", str(tmp_path / "mine.yaml"), **ASCII)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"the locale has no character '\\xe9', .* with LC_ALL=C.UTF-8\n", result.stderr)
