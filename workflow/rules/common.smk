"""The study read from the configuration, and what all jobs carry: environment, resources and a digest of their code."""

import os
import sys
import uuid
from functools import cache
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

# The package next to the workflow. A workflow that was fetched without it (as a module of another repository) imports
# an installed one.
REPOSITORY = Path(str(workflow.current_basedir)).parents[1]
if (REPOSITORY / "lora_core").is_dir():
    sys.path.insert(0, str(REPOSITORY))
    search_path = [str(REPOSITORY), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ.update(
        PYTHONPATH=os.pathsep.join(dict.fromkeys(filter(None, search_path)))
    )

try:
    from lora_core import job, job_records, kept_runs, layout, processes
    from lora_core.code_digest import CACHE, CodeDigests
    from lora_core.commands import environment, failures, slurm_jobs, unlock
    from lora_core.commands.studies import check_config_files, load_study
    from lora_core.config import (
        data_files,
        foreign,
        made_from,
        outdated,
        params,
        preflight,
        unfinished,
    )
    from lora_core.config.announcement import announcement, retraining
    from lora_core.layout import Layout
    from lora_core.measuring import gpus
    from lora_core.methods import registry
    from lora_core.reporting import catalogue
    from lora_core.seeds import derive
except ImportError as error:
    raise WorkflowError(
        f"the workflow's packages are missing ({error}): install them with `make setup` in the repository, or with "
        "`pip install 'lora-core[workflow] @ git+URL-OF-THE-REPOSITORY@TAG'`"
    ) from None


processes.on_processor_time_limit(processes.stop_at_time_limit)

# Before Snakemake reads config.yaml. Of a workflow that is used as a module, the configuration is the other Snakefile's.
if not workflow.modifier.skip_configfile:
    try:
        check_config_files(
            workflow.config_settings.configfiles,
            workflow.config_settings.config_args or (),
        )
    except (ValueError, OSError) as error:
        raise WorkflowError(environment.describe(error)) from None


configfile: "config.yaml"


# Set below, and there already if another module has the same configuration.
config.pop("_labels", None)

try:
    dry_run = workflow.output_settings.dryrun
    environment.check_python()
    environment.check_hidden_modules(REPOSITORY)
    study = load_study(
        config,
        overlay=workflow.config_settings.overwrite_config,
        options=workflow.config_settings.config,
    )
    environment.check_folders(study.results_dir, dry_run=dry_run)
    preflight.check_paths(study)
    preflight.check_results_folder(study)
    if dry_run:  # which does not call onstart
        preflight.check_content(study, dry_run=True)
except (ValueError, OSError) as error:
    raise WorkflowError(environment.describe(error)) from None

# Scripts read these from the configuration: as parameters of the rule, a change would rerun the training.
config["train"]["checkpoint_seconds"] = study.train.checkpoint_seconds
config["_labels"] = study.labels
# Which snakemake started a job: its failure summary names its own jobs only.
os.environ.setdefault(job.STUDY_VARIABLE, str(uuid.uuid4()))

LAYOUT = Layout(study.results_dir)
ENVIRONMENT = "../../envs/lora.yaml"
DIGESTS = CodeDigests(cache=CACHE)
FORCED = (
    {}
)  # what is made again although it exists, with the reason; filled before the jobs are planned
KEPT = (
    set()
)  # run.json of the runs that are kept although other code made them; filled before the jobs are planned


def script_file(script):
    """A script of this workflow, or Snakemake's copy of it if the workflow was fetched."""
    file = REPOSITORY / "workflow" / "scripts" / script
    return (
        file if file.is_file() else Path(workflow.source_path(f"../scripts/{script}"))
    )


@cache
def code(script, *modules):
    """The digest of a script and of all the code it uses: a job that carries it reruns when that code changes."""
    return DIGESTS.digest(script_file(script), *modules)


def code_of_methods(script, methods):
    """`code` with the files of these methods' kinds, which a job imports by name."""
    return code(
        script, *(registry.module_name(study.settings(m).kind) for m in methods)
    )


@cache
def training_code(module):
    """The digest of the code that trains a kind of method, with the digests of its files."""
    return DIGESTS.stage(script_file("train.py"), module)


def training_code_of(method):
    """`training_code` of a method of the study."""
    return training_code(registry.module_name(study.settings(method).kind))


def code_of_drawing(script, entry):
    """`code` with the file of the function that draws a table or figure, which a job imports by name."""
    return code(script, entry.module)


def is_local():
    """Whether jobs run on this machine. It is known when jobs are planned: before that, Snakemake always says so."""
    return workflow.local_exec and not workflow.remote_exec


@cache
def gpus_here():
    """How many GPUs measured jobs can have here; none on a cluster, whose nodes are unknown here."""
    return gpus.gpu_count(study.train.device) if is_local() else 0


def limit_measured_jobs():
    """Let one measured job run on a CPU; with GPUs, one on each, and one that gets ready for the first that is free.

    On a cluster the scheduler decides.
    """
    if is_local() and "device" not in workflow.resource_settings.resources:
        workflow.register_resource("device", gpus_here() + 1)


def threads_of_measured_jobs(wildcards):
    """The threads of a measured job: as configured, else by the cores; one on a cluster, whose nodes are unknown here."""
    cores = workflow.cores if is_local() else 1
    return study.train.threads or gpus.threads_of_a_job(cores, gpus_here())


@cache
def limit_of_memory():
    """The memory that training can have; None if nothing here knows it."""
    return preflight.memory_limit(
        study,
        is_local=is_local(),
        mem_mb=workflow.global_resources.get("mem_mb").value,  # of --resources
    )


def resources_of(kind):
    """What a job requests from a scheduler; memory and time grow with the attempts that a profile allows."""
    request = getattr(study.resources, kind)
    return {
        "mem_mb": lambda wildcards, attempt: attempt * request.mem_mb,
        "runtime": lambda wildcards, attempt: attempt * request.runtime,
        "gpu": request.gpu,
    }
