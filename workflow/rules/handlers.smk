# Included last, when every rule is known: wrong targets refused, and what is done before and after the jobs.


onstart:
    unlock.remember()
    sources.check_content(study)
    sources.remember(study)


onsuccess:
    unlock.forget()


onerror:
    unlock.forget()
    failures = joblog.failures(Path(LOGS), os.environ[joblog.STUDY])
    for log, why in failures.items():
        print(f"\n{log.relative_to(LOGS).with_suffix('')}: {why}", file=sys.stderr)
        print(f"  log: {log}\n  again: {again(log)}", file=sys.stderr)


# What another Snakefile that imports this one has for targets is not known here.
if (
    Path(workflow.main_snakefile).parent
    == Path(str(workflow.current_basedir)).parents[1]
):
    check_targets(sys.argv[1:])
