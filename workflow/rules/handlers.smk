"""What happens before and after the jobs, and the check of targets. Included last, when all rules are known."""

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


def rerun_command(log):
    """The command that runs the job with this log again."""
    failed_rule, match = next(
        (each, match)
        for each in workflow.rules
        for pattern in each.log
        if (match := pattern.match(str(log)))
    )
    settings, arguments = workflow.config_settings, sys.argv
    invocation = failures.Invocation(
        cores=workflow.cores or 1,
        configfiles=[os.path.relpath(file) for file in settings.configfiles],
        config=settings.config,
        profile=(
            arguments[arguments.index("--profile") + 1]
            if "--profile" in arguments
            else None
        ),
    )
    target = failed_rule.output[0].apply_wildcards(match.groupdict())
    return failures.rerun_command(target, invocation)


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
    exists = cache(os.path.exists)

    def makes_run(files):
        return not all(file.is_ancient and exists(file) for file in files)

    async def update(*arguments, **options):
        making_run = defaultdict(dict)
        for each, others in dag.depending.items():
            making_run[each] = {
                other: files for other, files in others.items() if makes_run(files)
            }
        dag.bfs = lambda direction, *jobs, **options: bfs(
            making_run if direction is dag.depending else direction, *jobs, **options
        )
        try:
            return await update_needrun(*arguments, **options)
        finally:
            del dag.bfs

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


def say_what_is_trained_again(reasons):
    """Say how much recorded work is made again, if it is much."""
    jobs = [each for each in workflow.dag.needrun_jobs() if each.rule.name == "train"]
    finished = {
        each.output[0]: next(
            (reasons[file] for file in each.output if file in reasons), None
        )
        for each in jobs
        if Path(each.output[0]).is_file()
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
            changed = compared.reasons
            keep_runs(compared.kept)
            FORCED.update(changed | harmed)
            workflow.dag.forcefiles.update(FORCED)
            plan_jobs_behind_ancient_inputs()
            build_dag()
            if differing := compare_with_records(recorded):
                changed |= differing
                workflow.dag.forcefiles.update(differing)
                workflow.async_run(workflow.dag.update_needrun())
            if any(
                "device" in each.rule.resources for each in workflow.dag.needrun_jobs()
            ):
                preflight.check_precision(study, is_local=is_local())
                jobs = workflow.dag.needrun_jobs()
                for warning in preflight.check_fit(
                    study,
                    {file for each in jobs for file in each.output},
                    limit_of_memory(),
                ):
                    print(warning, file=sys.stderr)
        except (ValueError, OSError) as error:
            raise WorkflowError(environment.describe(error)) from None
        DIGESTS.save()
        planned = {
            product
            for planned_job in workflow.dag.needrun_jobs()
            for product in planned_job.output
        }
        reasons = {
            product: reason
            for product, reason in (changed | harmed).items()
            if product in planned
        }
        for line in announcement(reasons):
            print(line, file=sys.stderr)
        say_what_is_trained_again(reasons)

    return build


if workflow.is_main_process:
    workflow._build_dag = force_products(workflow._build_dag)


def name_of_slurm_jobs():
    """The name of the jobs that this snakemake submits to Slurm; None if it submits to something else, or nothing."""
    if workflow.executor_plugin.name != "slurm":
        return None
    return workflow.scheduler._executor.run_uuid


onstart:
    try:
        unlock.note_owner()
        preflight.check_content(study)
        preflight.write_identity(study)
        if corrected := preflight.correct_time_stamps(study):
            print(corrected, file=sys.stderr)
        if name := name_of_slurm_jobs():
            slurm_jobs.note_jobs(LAYOUT, name)
    except (ValueError, OSError) as error:
        raise WorkflowError(environment.describe(error)) from None


def remove_notes():
    """Remove what was noted at the start: all jobs have ended, and the lock is released."""
    unlock.remove_note()
    if name := name_of_slurm_jobs():
        slurm_jobs.remove_note(LAYOUT, name)


onsuccess:
    remove_notes()


onerror:
    remove_notes()
    for failed in failures.failed_jobs(
        Path(LAYOUT.logs), os.environ[job.STUDY_VARIABLE]
    ):
        print(f"\n{failed.title}: {failed.reason}", file=sys.stderr)
        print(f"  log: {failed.log}", file=sys.stderr)
        print(f"  run it again: {rerun_command(failed.log)}", file=sys.stderr)


DIGESTS.save()
