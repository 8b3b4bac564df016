"""The params of every rule: Snakemake notices a change only of what it records, and records plain values."""

import json
import os
import re
import subprocess
import sys

import pytest
from builders import ROOT
from project import Project

# Plans the whole study and prints every param of every job, as `[rule, name, value, type that is no JSON value]`, and
# the arguments of every function that computes one.
PLAN = """
import inspect, json
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings
from snakemake.settings.enums import Quietness

def foreign(value):
    if type(value) in (list, dict):
        children = list(value.values()) if isinstance(value, dict) else value
        names = [name for name in value if type(name) is not str] if isinstance(value, dict) else []
        return next((found for found in map(foreign, [*children, *names]) if found), None)
    return None if value is None or type(value) in (str, int, float, bool) else type(value).__name__

with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    planned = api.workflow(
        ResourceSettings(cores=1),
        ConfigSettings(configfiles=[Path("tiny.yaml").resolve()]),
        snakefile=Path("Snakefile").resolve(),
    )
    planned.dag().execute_workflow(executor="dryrun")
    workflow = planned._workflow
    params = [
        [job.rule.name, name, foreign(value)] for job in workflow.dag.jobs for name, value in job.params.items()
    ]
    functions = [
        [rule.name, name, [*inspect.signature(value).parameters]]
        for rule in workflow.rules for name, value in rule.params.items() if callable(value)
    ]
    rules = [rule.name for rule in workflow.rules]
    Path("params.json").write_text(json.dumps({"rules": rules, "params": params, "functions": functions}))
"""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """What `PLAN` says of a study with all tables, a sweep, and two tasks."""
    project = Project(tmp_path_factory.mktemp("params") / "project")
    project.configure(
        tasks=["cola", "rte"],
        more_tables=["sweep", "convergence", "scaling", "regimes"],
        methods=["fft", "lora", "wide"],
        method_settings__wide={"kind": "lora", "sweep": {"rank": [2, 4], "alpha": [4]}},
    )
    done = subprocess.run(
        [sys.executable, "-c", PLAN], cwd=project.folder, capture_output=True, text=True, env=dict(os.environ)
    )
    file = project.folder / "params.json"
    assert file.exists(), done.stdout + done.stderr
    return json.loads(file.read_text())


def test_every_param_of_every_rule_is_a_json_value(planned):
    # `target_model`-like rules without a job would go unseen: only `all` has neither params nor a script.
    assert {rule for rule, *_ in planned["params"]} == set(planned["rules"]) - {"all"}
    assert [param for param in planned["params"] if param[-1]] == []


def test_functions_of_params_take_wildcards_alone(planned):
    assert planned["functions"]
    # Snakemake does not record a param that is computed from the input, threads or resources of a job.
    unrecorded = ["check_memory", "limit", ["wildcards", "input"]]  # of the machine: another one reruns nothing
    assert [function for function in planned["functions"] if function[-1] != ["wildcards"]] == [unrecorded]


def test_no_rule_has_retries_of_its_own():
    # On a cluster each of the three Snakemakes of a job would make them: `retries` belongs in a profile.
    for file in (ROOT / "workflow").rglob("*.smk"):
        assert not re.search(r"^\s*retries\s*:", file.read_text(), re.M), file
