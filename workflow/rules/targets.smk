"""The files of a study, the names that wildcards may have, and which rules never go to a cluster."""

import re

MODEL = LAYOUT.model.format(model=study.model.name)
MODEL_RECORD = LAYOUT.model_record.format(model=study.model.name)
MERGED_METHODS = [method for method in study.methods if study.can_merge(method)]
TESTED_TASKS = params.tested_tasks(study)
TIMED_SEEDS = study.timed_seeds
SWEPT = bool(params.swept_params(study))
TABLE_NAMES = catalogue.available_tables(sweep=SWEPT)
FIGURE_NAMES = catalogue.available_figures(
    sweep=SWEPT, methods_equal_to_lora=bool(study.methods_equal_to_lora)
)


def one_of(names):
    """The constraint of a wildcard that has one of these values; Snakemake takes an empty one for none at all."""
    return "|".join(re.escape(str(name)) for name in names) or "(?!)"


def of_every_run(pattern, methods=study.methods, tasks=study.tasks):
    """The files of this pattern for every run of the study, or of some of its methods and tasks."""
    return expand(pattern, method=methods, task=tasks, seed=study.seeds)


def of_runs(pattern, methods, tasks):
    """The files of this pattern for runs with the first seed."""
    return expand(pattern, method=methods, task=tasks, seed=study.seeds[:1])


# The power of one task is drawn, of the references or, without any, of the first method.
TRACED = [m for m in (study.references.full, study.references.adapter) if m]
TRACED = (TRACED or list(study.methods[:1]), study.tasks[:1])
EQUAL_TO_LORA = (study.methods_equal_to_lora, study.tasks)
# What tables, figures and claims are made from, by the names that the catalogue uses.
RECORDS = {
    "counts": [LAYOUT.counts],
    "gradients": expand(LAYOUT.gradients, method=study.methods),
    "scores": expand(LAYOUT.scores, task=study.tasks),
    "differences": expand(LAYOUT.differences, task=study.tasks),
    "latency": expand(LAYOUT.latency, task=study.tasks, seed=TIMED_SEEDS),
    "latency_records": expand(
        LAYOUT.latency_record, task=study.tasks, seed=TIMED_SEEDS
    ),
    "runs": of_every_run(LAYOUT.run_record),
    "costs": expand(LAYOUT.costs, task=study.tasks),
    "curves": expand(LAYOUT.curve, task=study.tasks),
    "traced_runs": of_runs(LAYOUT.run_record, *TRACED),
    "traced_power": ancient(of_runs(LAYOUT.power, *TRACED)),
    "loss_runs": of_runs(LAYOUT.run_record, *EQUAL_TO_LORA),
    "loss_predictions": ancient(of_runs(LAYOUT.predictions, *EQUAL_TO_LORA)),
    "memory_scaling": [LAYOUT.memory_scaling],
    "regimes": [LAYOUT.regimes],
    # Nothing else makes a study measure it.
    "measured_regimes": (
        [LAYOUT.regimes]
        if "regimes" in study.more_tables
        or (params.compares_steps(study) and Path(LAYOUT.regimes).exists())
        else []
    ),
}

# Runs of other tasks, whose weights runs of this study start from.
START_TASKS = {
    method: dict.fromkeys(s for task in study.tasks for s in study.starts(method, task))
    for method in study.methods
}
START_RUNS = [
    run
    for method, tasks in START_TASKS.items()
    for run in of_every_run(
        LAYOUT.run_record, [method], [t for t in tasks if t not in study.tasks]
    )
]
WEIGHTS = of_every_run(LAYOUT.weights) + of_every_run(LAYOUT.merged, MERGED_METHODS)
MODEL_CARDS = of_every_run(LAYOUT.model_card)
TABLES = expand(
    f"{LAYOUT.table}.{{suffix}}",
    table=catalogue.default_tables(study.more_tables),
    suffix=["md", "csv", "tex", "json"],
)
FIGURES = expand(
    [f"{LAYOUT.figure}.svg", LAYOUT.narrow_figure, f"{LAYOUT.figure}.csv"],
    figure=catalogue.default_figures(
        methods_equal_to_lora=bool(study.methods_equal_to_lora),
        more_tables=study.more_tables,
    ),
)
WILDCARDS = {
    "method": study.methods,
    "task": study.trained_tasks,
    "seed": study.seeds,
    "table": TABLE_NAMES,
    "figure": FIGURE_NAMES,
}


wildcard_constraints:
    **{wildcard: one_of(values) for wildcard, values in WILDCARDS.items()},
