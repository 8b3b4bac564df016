"""Which jobs run: Snakemake's plan, and what it would leave although its result is outdated, foreign or unfinished.

Included when all rules are known.
"""

import itertools
from collections import defaultdict

from snakemake.io import strip_wildcard_constraints


def check_targets():
    """Reject a target that no rule makes, and suggest the nearest one, which Snakemake does not."""
    targets = [t for t in workflow.dag_settings.targets if not workflow.is_rule(t)]
    if not targets:
        return
    products = {
        product
        for each in workflow.rules
        for pattern in each.output
        for product in expand(strip_wildcard_constraints(pattern), **WILDCARDS)
        if pattern.match(product)
    }
    preflight.check_targets(targets, products)


def compare_with_records(recorded):
    """The results that are made again although Snakemake would leave them, each with the reason."""
    dag = workflow.dag
    planned = {file for each in dag.needrun_jobs() for file in each.output}
    comparison = made_from.Comparison(LAYOUT.results, recorded, planned)
    for each in itertools.chain.from_iterable(dag.toposorted()):
        # A Snakefile that uses this workflow as a module has rules of its own, without a digest of their code.
        is_ours = each.params.get("code") is not None
        if not each.output or not is_ours or not planned.isdisjoint(each.output):
            continue
        planned_job = made_from.PlannedJob(
            outputs=list(each.output),
            inputs=list(each.input),
            params=each.params,
            # If one output is forgotten, Snakemake compares none.
            is_remembered=all(map(is_remembered, each.output)),
        )
        comparison.add(planned_job)
    return comparison.reasons


def plan_jobs_behind_ancient_inputs():
    """Let Snakemake also look at the jobs that read what is made again as `ancient`, however indirectly.

    It takes them for jobs that run anyway, and then leaves them out because the input is no reason to run. They may
    have another: changed parameters, or that they are forced.
    """
    dag = workflow.dag
    update_needrun, bfs = dag.update_needrun, dag.bfs
    # Of the calls that are not finished. More than one where a module is used twice, which wraps these functions twice.
    calls = []

    def bfs_of_plan(direction, *jobs, **options):
        if calls and direction is dag.depending:
            direction = calls[-1]
        return bfs(direction, *jobs, **options)

    async def update(*arguments, **options):
        exists, making_run = cache(os.path.exists), defaultdict(dict)

        def makes_run(files):
            return not all(file.is_ancient and exists(file) for file in files)

        for each, others in dag.depending.items():
            making_run[each] = {
                other: files for other, files in others.items() if makes_run(files)
            }
        calls.append(making_run)
        try:
            return await update_needrun(*arguments, **options)
        finally:
            calls.pop()

    dag.bfs = bfs_of_plan
    dag.update_needrun = update


def keep_runs(records):
    """Let Snakemake remember nothing of the runs with these records: it would compare them with other code."""
    KEPT.update(records)
    patterns = (
        LAYOUT.run_record,
        LAYOUT.history,
        LAYOUT.power,
        LAYOUT.predictions,
        LAYOUT.weights,
    )
    places = (layout.wildcards(LAYOUT.run_record, Path(record)) for record in records)
    forgotten = {pattern.format(**place) for place in places for pattern in patterns}
    if forgotten:
        remembered = workflow.persistence.metadata
        workflow.persistence.metadata = lambda target: (
            None if str(target) in forgotten else remembered(target)
        )


def check_measured_jobs():
    """Refuse a precision or a batch that the device of a planned job cannot have; say which batches may not fit."""
    jobs = list(workflow.dag.needrun_jobs())
    if not any("device" in each.rule.resources for each in jobs):
        return
    preflight.check_precision(study, is_local=is_local())
    planned = {file for each in jobs for file in each.output}
    for warning in preflight.check_fit(study, planned, limit_of_memory()):
        print(warning, file=sys.stderr)


def say_what_is_made_again(reasons):
    """Say which results are made again and why, and how much recorded work that repeats, if it is much."""
    jobs = list(workflow.dag.needrun_jobs())
    planned = [file for each in jobs for file in each.output]
    for line in announcement(
        {file: reasons[file] for file in planned if file in reasons}
    ):
        print(line, file=sys.stderr)
    finished = {
        each.output[0]: next(
            (reasons[file] for file in each.output if file in reasons), None
        )
        for each in jobs
        if each.rule.name == "train" and Path(each.output[0]).is_file()
    }
    if line := retraining(finished):
        print(line, file=sys.stderr)


def force_products(build_dag):
    """Wrap the function that plans the jobs, so that it also plans those of outdated and unfinished results.

    The option --forcerun would do the same, but it makes targets of products that nobody asked for.
    """

    def build():
        limit_measured_jobs()
        try:
            if IS_MAIN_SNAKEFILE:
                check_targets()
            recorded = job_records.read_outputs(LAYOUT.logs)
            harmed = foreign.foreign_products(LAYOUT.results, recorded)
            harmed |= unfinished.unfinished_products(LAYOUT.results, recorded)
            compared = outdated.ResultsComparison(
                study, training_code_of, data_files.changed_data_files
            )
            keep_runs(compared.kept)
            FORCED.update(compared.reasons | harmed)
            workflow.dag.forcefiles.update(FORCED)
            plan_jobs_behind_ancient_inputs()
            build_dag()
            if differing := compare_with_records(recorded):
                workflow.dag.forcefiles.update(differing)
                workflow.async_run(workflow.dag.update_needrun())
            check_measured_jobs()
        except (ValueError, OSError) as error:
            raise WorkflowError(environment.describe(error)) from None
        DIGESTS.save()
        say_what_is_made_again(compared.reasons | differing | harmed)

    return build


if workflow.is_main_process:
    workflow._build_dag = force_products(workflow._build_dag)
