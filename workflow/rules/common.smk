"""The study read from the configuration, its paths, wildcard constraints, and what every rule carries."""

import os
import re
import sys
import uuid
from functools import cache
from pathlib import Path

# A Snakefile elsewhere may use this workflow as a module: its folder is not where lora_core lies.
sys.path.insert(0, str(Path(str(workflow.current_basedir)).parents[1]))

from snakemake.io import strip_wildcard_constraints
from snakemake_interface_common.exceptions import WorkflowError

from lora_core import job as joblog
from lora_core.config import preflight as sources
from lora_core.commands import unlock
from lora_core.config.study import load as load_study
from lora_core.provenance import ROOT, code_digest, share_path
from lora_core.records import FULL, OWN
from lora_core.seeds import derive

share_path()
try:
    study = load_study(config, overlay=workflow.config_settings.overwrite_config)
    sources.check_paths(study)
    sources.check_folder(study)
except ValueError as error:
    raise WorkflowError(str(error)) from None

# As it was read: the scripts' own look at the configuration must not parse it again.
config["train"]["checkpoint_seconds"] = study.train.checkpoint_seconds
RESULTS = study.results_dir
MODEL = f"{RESULTS}/models/{study.model.name}"
DATA = f"{RESULTS}/data/{{task}}"
RUN = f"{RESULTS}/runs/{{method}}/{{task}}/seed{{seed}}"
MERGED = f"{RESULTS}/merged/{{method}}/{{task}}/seed{{seed}}"
CHECKPOINT = f"{RESULTS}/checkpoints/{{method}}-{{task}}-seed{{seed}}"
LATENCY = f"{RESULTS}/latency/{{task}}/seed{{seed}}.csv"
SCORES = f"{RESULTS}/scores/{{task}}.csv"
ENERGY = f"{RESULTS}/energy/{{task}}.csv"
TABLE = f"{RESULTS}/tables/{{table}}"
FIGURE = f"{RESULTS}/figures/{{figure}}"
LOGS = f"{RESULTS}/logs"
PAPER_TABLES = [f"table{number}" for number in range(1, 8)]
SWEPT = {
    method: study.method_settings[method].swept.model_dump(mode="json")
    for method in study.methods
    if study.method_settings[method].swept
}
MORE_TABLES = ["convergence", "scaling", *(["sweep"] if SWEPT else [])]
ENVIRONMENT = "../../envs/lora.yaml"

MERGING = [method for method in study.methods if study.merges(method)]
RUNS = expand(
    f"{RUN}/run.json", method=study.methods, task=study.tasks, seed=study.seeds
)
# Of other tasks, for runs to start from.
FIRST_RUNS = [
    f"{RUN}/run.json".format(method=method, task=start, seed=seed)
    for method in study.methods
    for start in dict.fromkeys(
        s for task in study.tasks for s in study.starts(method, task)
    )
    for seed in study.seeds
    if start not in study.tasks
]
WEIGHTS = [
    *expand(f"{RUN}/weights", method=study.methods, task=study.tasks, seed=study.seeds),
    *expand(MERGED, method=MERGING, task=study.tasks, seed=study.seeds),
]
TIMED = expand(
    LATENCY, task=study.tasks, seed=study.seeds[: study.measure.latency_seeds]
)
COUNTS = f"{RESULTS}/counts.json"
COSTS = expand(ENERGY, task=study.tasks)
CURVES = expand(f"{RESULTS}/energy/{{task}}_curve.csv", task=study.tasks)
SCORED = expand(SCORES, task=study.tasks)
# What is read by its place beside a record.
DIFFERENCES = expand(f"{RESULTS}/scores/{{task}}_differences.csv", task=study.tasks)
TIMED_JSON = [str(Path(file).with_suffix(".json")) for file in TIMED]
TABLES = expand(
    f"{TABLE}.{{suffix}}",
    table=PAPER_TABLES + list(study.more_tables),
    suffix=["md", "csv", "tex"],
)
PAPER_FIGURES = [
    "scores",
    *(f"score_over_{quantity}" for quantity in ("epochs", "time", "energy")),
    "time_to_threshold",
    "energy_to_threshold",
    "memory",
    "latency",
    "pareto",
    "power",
    *(["loss_curves"] if study.same_as_lora else []),
]
MORE_FIGURES = [table for table in MORE_TABLES if table != "convergence"]
FIGURES = expand(
    f"{FIGURE}.{{suffix}}",
    figure=[*PAPER_FIGURES, *(f for f in MORE_FIGURES if f in study.more_tables)],
    suffix=["svg", "csv"],
)


wildcard_constraints:
    method="|".join(map(re.escape, study.methods)),
    task="|".join(map(re.escape, study.trained_tasks)),
    seed="|".join(map(str, study.seeds)),
    table="|".join(PAPER_TABLES + MORE_TABLES),
    figure="|".join(PAPER_FIGURES + MORE_FIGURES),


# Short, and some in need of a network: under a cluster profile these stay where snakemake runs.
localrules:
    all,
    prepare_model,
    tokenize_dataset,
    count_parameters,
    merge_adapter,
    compare_scores,
    aggregate_energy,
    collect_runs,
    render_table,
    draw_figure,
    judge_claims,
    write_report,


# What tells this snakemake's jobs from another's.
os.environ.setdefault(joblog.STUDY, str(uuid.uuid4()))


@cache
def code(script, *modules):
    """The digest of a script and of all the code it uses: a rule that carries it reruns when that code changes."""
    return code_digest(Path(ROOT, "workflow", "scripts", script), *modules)


def method_code(script, methods):
    """`code` with the files of these methods' kinds."""
    return code(
        script,
        *(f"lora_core.methods.{study.settings(method)['kind']}" for method in methods),
    )


def measured_threads(wildcards):
    """Of a measured job: what it is told, else all cores; on a cluster one, for its nodes' cores are not known here."""
    here = workflow.local_exec and not workflow.remote_exec
    return study.train.threads or (workflow.cores if here else 1)


def needs(kind):
    """What a job asks a scheduler for: memory grows with the attempts that a profile allows."""
    need = getattr(study.resources, kind)
    return {
        "mem_mb": lambda wildcards, attempt: attempt * need.mem_mb,
        "runtime": need.runtime,
        "gpu": need.gpu,
    }


def check_targets(words):
    """Refuse a target that no rule makes, by what the rules say they make.

    Snakemake says only that there is no rule, and knows the targets too late for the Snakefile to ask it.
    """
    asked = [word for word in words if word.startswith(f"{RESULTS}/")]
    if not asked:
        return
    names = {
        "method": study.methods,
        "task": study.trained_tasks,
        "seed": study.seeds,
        "table": PAPER_TABLES + MORE_TABLES,
        "figure": PAPER_FIGURES + MORE_FIGURES,
    }
    products = {
        product
        for rule in workflow.rules
        for pattern in rule.output
        for product in expand(strip_wildcard_constraints(pattern), **names)
        if pattern.match(product)
    }
    try:
        sources.check_targets(asked, products, RESULTS)
    except ValueError as error:
        raise WorkflowError(str(error)) from None


def again(log):
    """The command that runs the job of a log again."""
    found = [
        (rule, match)
        for rule in workflow.rules
        for pattern in rule.log
        if (match := pattern.match(str(log)))
    ]
    (rule, match), settings = found[0], workflow.config_settings
    target = rule.output[0].apply_wildcards(match.groupdict())
    files = [os.path.relpath(file) for file in settings.configfiles]
    words = sys.argv
    profile = words[words.index("--profile") + 1] if "--profile" in words else None
    return joblog.again(target, workflow.cores or 1, files, settings.config, profile)
