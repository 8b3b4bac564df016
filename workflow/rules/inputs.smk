"""What rules read and are told: their input functions, and each rule's slice of the configuration."""


def data_files(wildcards):
    """What a task in a local folder is read from; nothing for the hub and mini-GLUE."""
    return sources.data_files(study, wildcards.task)


def data_settings(wildcards):
    """A task's slice of the configuration."""
    task = study.task(wildcards.task)
    return {
        "source": sources.data_source(study, wildcards.task),
        "metrics": task.metrics,
        "max_length": study.max_length(wildcards.task),
        **task.layout,
    }


def start_weights(wildcards):
    """The weights that a run starts from, of the same method and seed; none where that is the pre-trained model."""
    start = study.hyperparameters(wildcards.method, wildcards.task)["start_from"]
    starts = [] if start is None else [start]
    return [f"{RUN}/weights".format(**{**wildcards, "task": s}) for s in starts]


def run_priority(wildcards):
    """An order of runs shuffled over methods: what the device's heat does follows no method."""
    return derive(0, f"{wildcards.method}-{wildcards.task}-{wildcards.seed}") % 1000


def run_spec(wildcards):
    """All that one run is told, and nothing more: a change in it reruns this run alone."""
    return {
        "method": wildcards.method,
        "task": wildcards.task,
        "seed": int(wildcards.seed),
        "settings": study.settings(wildcards.method),
        "hyperparameters": study.hyperparameters(wildcards.method, wildcards.task),
        **study.train.of_a_run,
        **measure_settings("meter", "simulated", "sample_seconds", "idle_seconds"),
        "base_model": study.model.id if study.model.source == "hub" else MODEL,
    }


def measure_settings(*names):
    """A slice of the `measure` section."""
    return {name: getattr(study.measure, name) for name in names}


def timed_methods():
    """The methods whose latency is compared, with what loads them."""
    return {method: study.settings(method) for method in study.methods}


def latency_plan():
    """How long latency is timed (`lora_core.evaluation.latency.Plan`)."""
    names = ("passes", "seconds", "margin", "batch_size", "single_examples")
    return {name: getattr(study.measure, f"latency_{name}") for name in names}


def seed_of_task(pattern, methods):
    """An input function: `pattern` for each of these methods, at the wildcards' task and seed."""
    return lambda wildcards: expand(
        pattern, method=methods, task=wildcards.task, seed=wildcards.seed
    )


def runs_of_task(name):
    """An input function: the file `name` of every run of a task."""
    return lambda wildcards: expand(
        f"{RUN}/{name}", method=study.methods, task=wildcards.task, seed=study.seeds
    )


def table_records(wildcards):
    """The records that a table shows, and no others; `beside` is read by its place beside them."""
    return {
        "table1": {"counts": [COUNTS]},
        "table2": {"scores": SCORED, "beside": DIFFERENCES},
        "table3": {"latency": TIMED, "beside": TIMED_JSON},
        "table4": {"runs": RUNS},
        "table5": {"costs": COSTS},
        "table6": {"costs": COSTS},
        "table7": {},
        "scaling": {"scaling": [f"{RESULTS}/scaling.json"]},
        "sweep": {"counts": [COUNTS], "scores": SCORED, "costs": COSTS},
        "convergence": {"costs": COSTS, "runs": RUNS},
    }[wildcards.table]


def figure_records(wildcards):
    """The records that a figure shows, and no others; `beside` is read by its place beside them."""
    curves = {"curves": CURVES, "costs": COSTS}
    # At the first seed: what computes the same as own LoRA starts from the same values.
    same = [
        RUN.format(method=method, task=task, seed=study.seeds[0])
        for method in study.same_as_lora
        for task in study.tasks
    ]
    # A trace is of one task: the first.
    traced = [
        RUN.format(method=method, task=study.tasks[0], seed=study.seeds[0])
        for method in study.methods
        if method in (FULL, OWN)
    ] or [RUN.format(method=study.methods[0], task=study.tasks[0], seed=study.seeds[0])]
    return {
        "scores": {"scores": SCORED},
        "score_over_epochs": curves,
        "score_over_time": curves,
        "score_over_energy": curves,
        "time_to_threshold": {"costs": COSTS},
        "energy_to_threshold": {"costs": COSTS},
        "memory": {"runs": RUNS},
        "latency": {"latency": TIMED, "beside": TIMED_JSON},
        "pareto": {
            "scores": SCORED,
            "counts": [COUNTS],
            "runs": RUNS,
            "costs": COSTS,
        },
        "power": {
            "runs": [f"{run}/run.json" for run in traced],
            "beside": [f"{run}/power.csv" for run in traced],
        },
        "loss_curves": {
            "runs": [f"{run}/run.json" for run in same],
            "beside": [f"{run}/predictions.safetensors" for run in same],
        },
        "scaling": {"scaling": [f"{RESULTS}/scaling.json"]},
        "sweep": {"counts": [COUNTS], "scores": SCORED, "costs": COSTS},
    }[wildcards.figure]


def table_settings(wildcards):
    """What a table is told: the study in words, and its own slice of the configuration."""
    table = wildcards.table
    trained = table not in ("table1", "table2", "scaling")
    settings = {"study": sources.describe(study, batching=trained)}
    if table == "table3":
        settings["margin"] = study.measure.latency_margin
    if table in ("table5", "table6"):
        column = "full" if table == "table5" else "adapter"
        settings["methods"] = [
            m for m in study.methods if study.kind(m).protocol_column == column
        ]
    if table == "table7":
        settings["hyperparameters"] = sources.resolved_hyperparameters(study)
    if table == "sweep":
        settings["swept"] = SWEPT
    return settings
