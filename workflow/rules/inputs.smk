"""Input functions: what a rule reads for its wildcards.

Snakemake compares time stamps, and contents only of files up to `max-checksum-file-size`. A folder, and a file that can
be larger, is therefore `ancient`: its time stamp does not count. The small record that is written with it (run.json,
card.json, models/{model}.json) is an input of the same job and says when the content is another.
"""

from snakemake.io import IOFile


def dataset_files(wildcards):
    """The files of a task in a local folder; none for the hub and mini-GLUE.

    A file that still has the content that the task was tokenized from is `ancient`.
    """
    unchanged = data_files.unchanged_data_files(study, wildcards.task)
    return [
        ancient(file) if file in unchanged else file
        for file in data_files.data_files(study, wildcards.task)
    ]


@cache
def is_remembered(product):
    """Whether Snakemake has a record of how a file was made."""
    return workflow.persistence.metadata(IOFile(product)) is not None


@cache
def is_kept(product):
    """Whether a job's record stays although Snakemake remembers nothing of it, as in a fresh checkout or an archive.

    It agrees with the configuration, the code and the job's inputs, or it is made again (planning.smk).
    """
    return (
        product not in FORCED and Path(product).exists() and not is_remembered(product)
    )


def unless_kept(product, pattern):
    """An input function: `pattern`, `ancient` where only time stamps could rerun the job.

    `pattern` is a path with wildcards, a list of files, or a function of wildcards that returns files or, for `unpack`,
    names of files. `product` is the pattern of one of the job's outputs.
    """

    def files(wildcards):
        names = pattern
        if callable(pattern):
            names = pattern(wildcards)
        elif isinstance(pattern, str):
            names = pattern.format(**wildcards)
        if not names or not is_kept(product.format(**wildcards)):
            return names
        if isinstance(names, dict):
            return {name: ancient(files) for name, files in names.items()}
        return ancient(names)

    return files


def test_file(wildcards):
    """The tokenized test split of a task; none for a task without one."""
    has_test = wildcards.task in TESTED_TASKS
    return LAYOUT.test_data.format(task=wildcards.task) if has_test else []


def start_file(pattern):
    """An input function: this file of the run that a run starts from; none if it starts from the pre-trained model."""

    def files(wildcards):
        start = study.hyperparameters(wildcards.method, wildcards.task).start_from
        return pattern.format(**{**wildcards, "task": start}) if start else []

    return files


def of_task_and_seed(pattern, methods):
    """An input function: `pattern` for each of these methods, at the wildcards' task and seed."""
    return lambda wildcards: expand(
        pattern, method=methods, task=wildcards.task, seed=wildcards.seed
    )


def of_task(pattern):
    """An input function: `pattern` for every run of the wildcards' task."""
    return lambda wildcards: of_every_run(pattern, tasks=[wildcards.task])


def unless_run_is_kept(pattern):
    """An input function: `pattern`, a path with wildcards or a function, but nothing for a run that is kept.

    Otherwise data or a model that is made again would hide from Snakemake what is to be drawn again from that run.
    """

    def files(wildcards):
        if LAYOUT.run_record.format(**wildcards) in KEPT:
            return []
        return pattern(wildcards) if callable(pattern) else pattern.format(**wildcards)

    return files


@cache
def kept_files():
    """The files that say which runs were kept although other code made them: one that comes or goes counts.

    Runs that are about to be trained again are left out.
    """
    allowed = workflow.dag_settings.allowed_rules
    trained = FORCED if not allowed or "train" in allowed else {}
    runs = (record for record in RECORDS["runs"] if record not in trained)
    return [str(kept_runs.kept_file(run)) for run in runs if kept_runs.kept_run(run)]


def records_of(entry):
    """The records that a table or figure shows, and no others."""
    kept = {"kept": kept_files()} if entry.shows_runs else {}
    return {name: RECORDS[name] for name in entry.records} | kept


def records_of_table(wildcards):
    return records_of(catalogue.table(wildcards.table))


def records_of_figure(wildcards):
    return records_of(catalogue.figure(wildcards.figure))


def records_of_claims(wildcards):
    """What claims are judged by, by the names of `ClaimRecords`, and the runs that were kept."""
    names = (
        "counts",
        "differences",
        "latency",
        "latency_records",
        "runs",
        "costs",
        "measured_regimes",
    )
    return {name: RECORDS[name] for name in names} | {"kept": kept_files()}


def records_of_report(wildcards):
    """What the page shows, by the names of `ReportInputs`."""
    return {
        "tables": [table for table in TABLES if table.endswith(".json")],
        "figures": [figure for figure in FIGURES if figure.endswith(".svg")],
        "claims": f"{LAYOUT.claims}.csv",
        "collected": LAYOUT.runs,
        "counts": LAYOUT.counts,
        "kept": kept_files(),
        **{
            name: RECORDS[name]
            for name in (
                "differences",
                "curves",
                "costs",
                "runs",
                "latency",
                "latency_records",
            )
        },
    }


def settings_for(entry):
    """The settings of the study that a table or figure needs."""
    return params.draw_params(study, entry.parent, entry.settings)


def description_for_table(wildcards):
    """The description of the study; a table that is not about training does not say how batches are formed."""
    settings = catalogue.table(wildcards.table).settings
    return params.description_params(study, batching="batching" in settings)
