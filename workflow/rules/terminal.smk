"""What Snakemake prints on the terminal: a line for each job that has ended, and everything that went wrong.

Its complete log, whose name it prints at the end, has the rest. A dry run prints what it would do as Snakemake does.
"""

import logging
import time

from snakemake.logging import logger

from lora_core.data.titles import run_title
from lora_core.layout import exit_record

# Who uses this workflow as a module decides what is printed, and has targets of another Snakefile.
IS_MAIN_SNAKEFILE = Path(workflow.main_snakefile).resolve() in (
    REPOSITORY / "Snakefile",
    REPOSITORY / "workflow" / "Snakefile",
)
# Snakemake's events and sentences that say nothing to a user. What is not named here is printed.
HIDDEN_EVENTS = (
    "job_finished",
    "job_started",
    "resources_info",
    "run_info",
    "workflow_started",
)
HIDDEN_SENTENCES = (
    "Assuming unrestricted shared filesystem",
    "Building DAG",
    "Conda environments: ignored",
    "Group jobs: inactive",
    "RuleException:\nCalledProcessError",
    "Select jobs",
    "Singularity containers: ignored",
    "Using shell:",
)


def job_title(rule_name, wildcards):
    """The name of a job for people, such as "train LoRA (own) on CoLA, seed 1"."""
    names = dict(wildcards.items())
    of_run = {n: names.pop(n) for n in ("method", "task", "seed") if n in names}
    return " ".join(
        filter(None, [rule_name, *names.values(), run_title(study.labels, **of_run)])
    )


def has_printed_its_error(record):
    """Whether a failed job has printed its error on this terminal; the summary at the end repeats it."""
    try:
        ends = [
            job_records.read_job_record(exit_record(Path(log))) for log in record.log
        ]
    except (ValueError, OSError):
        return False
    study_now = os.environ[job.STUDY_VARIABLE]
    has_ended = {(end.state, end.study) for end in ends} == {("failed", study_now)}
    return has_ended and not record.aux and is_local()


class OneLinePerJob(logging.Filter):
    """Lets one line for each job through in place of Snakemake's blocks of lines about its start and its end."""

    def __init__(self):
        super().__init__()
        self.started = {}  # title and time, by the job's number
        self.ended = None

    def filter(self, record):
        event = getattr(record, "event", None)
        if event == "job_info":
            title = job_title(record.rule_name, record.wildcards)
            self.started[record.jobid] = title, time.monotonic()
            return False
        if event == "job_finished":
            self.ended = self.started.get(record.job_id)
        if event == "progress":
            self.print_progress(record.done, record.total)
            return False
        if event == "job_error" and has_printed_its_error(record):
            return False
        is_hidden = str(record.msg).startswith(HIDDEN_SENTENCES)
        return event not in HIDDEN_EVENTS and not is_hidden

    def print_progress(self, done, total):
        if self.ended:
            title, start = self.ended
            took = f"({time.monotonic() - start:.0f} s)"
            print(f"{done:{len(str(total))}}/{total} {title} {took}", file=sys.stderr)


def shorten_terminal():
    """Print one line per job, unless the command line says what Snakemake prints, or plans without running."""
    shown = workflow.output_settings
    if shown.dryrun or shown.quiet or shown.verbose or shown.debug_dag:
        return
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(OneLinePerJob())


if workflow.is_main_process and IS_MAIN_SNAKEFILE:
    shorten_terminal()
