"""What happens before the first job and after the last. Included last, when all rules are known."""


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
