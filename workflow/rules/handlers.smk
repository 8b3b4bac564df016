"""What happens before and after the jobs, and the check of targets. Included last, when all rules are known."""

import itertools

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
            is_remembered=is_remembered(each.output[0]),
        )
        if comparison.differs(planned_job):
            # Snakemake does not run even a forced job whose inputs are made again if all of them are ancient.
            for file in each.input:
                if file in planned:
                    file.flags.pop("ancient", None)
    return comparison.reasons


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
            cut_off = unfinished.unfinished_products(LAYOUT.results, recorded)
            changed = outdated.outdated_results(
                study, lambda method: code_of_methods("train.py", [method])
            )
            FORCED.update(changed | cut_off)
            workflow.dag.forcefiles.update(FORCED)
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
            for product, reason in (changed | cut_off).items()
            if product in planned
        }
        for line in announcement(reasons):
            print(line, file=sys.stderr)

    return build


if workflow.is_main_process:
    workflow._build_dag = force_products(workflow._build_dag)


onstart:
    try:
        unlock.note_owner()
        preflight.check_content(study)
        preflight.write_identity(study)
        if corrected := preflight.correct_time_stamps(study):
            print(corrected, file=sys.stderr)
    except (ValueError, OSError) as error:
        raise WorkflowError(environment.describe(error)) from None


onsuccess:
    unlock.remove_note()


onerror:
    unlock.remove_note()
    for failed in failures.failed_jobs(
        Path(LAYOUT.logs), os.environ[job.STUDY_VARIABLE]
    ):
        name = failed.log.relative_to(LAYOUT.logs).with_suffix("")
        print(f"\n{name}: {failed.reason}", file=sys.stderr)
        print(f"  log: {failed.log}", file=sys.stderr)
        print(f"  run it again: {rerun_command(failed.log)}", file=sys.stderr)


DIGESTS.save()
