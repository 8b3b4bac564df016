"""The command `lora-core`: what it accepts, what it imports, and one sentence for a mistake."""

import json
import re
import subprocess
import sys

import pytest

from lora_core.code_digest import ROOT
from lora_core.commands import cli
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


def test_commands_read_json_as_snakemake_does(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    overlay = tmp_path / "study.json"
    sweep = '{"kind": "lora", "targets": ["query"], "rank": 8, "sweep": {"alpha": [1e-3]}}'
    overlay.write_text(
        '{\n\t"methods": ["fft", "lora", "lora_ref", "s"],\n\t"method_settings": {"s": ' + sweep + "}\n}"
    )
    assert read_study([str(overlay)]).methods[-1] == "s-alpha0.001"


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
