"""The command `lora-core`: its subcommands and their arguments. Each imports what it needs only when it runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lora_core.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROTOCOLS = ("table7", "hu-table9", "ms-scripts")
EXPORTS = ("tensorboard", "mlflow", "codecarbon", "peft-benchmark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status; a mistake of the user is one sentence on standard error."""
    from lora_core import processes
    from lora_core.commands import endings, environment

    if arguments is None:  # as a program of its own
        processes.on_processor_time_limit(processes.stop_at_time_limit)
    options = parse_arguments(arguments)
    if other := environment.other_package():
        print(f"lora-core: {other}", file=sys.stderr)
    run: Callable[[argparse.Namespace], int | None] = options.run
    return endings.end_status(lambda: run(options))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line, with the function to call as `run`. Exit on a wrong command line."""
    parser = argparse.ArgumentParser(prog="lora-core", description="Tools around a study of the LoRA workflow.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int | None], summary: str) -> argparse.ArgumentParser:
        description = f"{summary[0].upper()}{summary[1:]}."
        command = commands.add_parser(name, help=summary, description=description, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    def add_study(name: str, run: Callable[[argparse.Namespace], int | None], summary: str) -> argparse.ArgumentParser:
        command = add(name, run, summary)
        command.add_argument(
            "--configfile", nargs="+", default=[], metavar="FILE", help="overlays config.yaml, as in snakemake"
        )
        return command

    add("doctor", _doctor, "show what this machine has and what it can run")
    status = add_study("status", _status, "show which runs are done, running, failed and left")
    status.add_argument(
        "--why", nargs="*", metavar="RUN", help="say what changed for each run that would be made again; RUN: some only"
    )
    keep = add_study("keep", _keep, "keep finished runs although code or packages changed")
    keep.add_argument("runs", nargs="+", metavar="RUN", help="folder such as results/runs/lora/cola/seed1")
    keep.add_argument("--because", metavar="TEXT", default="", help="the reason, which tables and the report show")
    keep.add_argument("--undo", action="store_true", help="no longer keep them")
    add_study("summary", _summary, "compare LoRA with full fine-tuning in four lines, and name the report")
    add_study("estimate", _estimate, "estimate the time, disk space and energy of a study")
    compare = add("compare", _compare, "compare the settings and results of two studies")
    compare.add_argument("a", type=Path, help="results folder of a study")
    compare.add_argument("b", type=Path, help="results folder of another study")
    bundle = add_study("bundle", _bundle, "pack a finished study without weights into one archive")
    bundle.add_argument("archive", type=Path, help="the ZIP file to write")
    verify = add("verify-bundle", _verify_bundle, "redraw a bundle's tables and figures from its raw records")
    verify.add_argument("archive", type=Path, help="a bundle")
    export = add_study("export", _export, "write the records of a study in the format of another tool")
    export.add_argument("results", type=Path, help="results folder of a study")
    export.add_argument("--to", required=True, metavar="FORMAT", help=" | ".join(EXPORTS))
    export.add_argument("folder", type=Path, help="the new folder to write")
    glue = add("glue-submission", _glue_submission, "predict GLUE's test splits, in the format of its leaderboard")
    glue.add_argument("results", type=Path, help="results folder of a study on GLUE")
    glue.add_argument("folder", type=Path, help="the new folder to write")
    glue.add_argument("--method", metavar="NAME", help="whose weights predict, if the study has several methods")
    glue.add_argument("--seed", type=int, metavar="N", help="of which seed, if the study has several")
    publish = add_study("publish", _publish, "show what of a run would be uploaded to the hub; with --yes, upload it")
    publish.add_argument("folder", metavar="RUN", type=Path, help="folder such as results/runs/lora/cola/seed1")
    publish.add_argument("--repo", required=True, metavar="NAME", help="repository on the hub, such as OWNER/NAME")
    publish.add_argument("--merged", action="store_true", help="the merged model instead of the run's weights")
    publish.add_argument("--base", metavar="NAME", help="what the hub calls the base model, if the run used a folder")
    publish.add_argument("--private", action="store_true", help="create a private repository")
    publish.add_argument("--update", action="store_true", help="replace the files of a repository that exists")
    publish.add_argument("--yes", action="store_true", help="really upload")
    add_study("unlock", _unlock, "remove Snakemake's lock if the process that took it was killed")
    add_study("results-dir", _results_dir, "print the results folder of a study")
    add("schema", _schema, "print the JSON schema of the configuration")
    protocols = add("protocols", _protocols, "print how protocols differ, as a Markdown table")
    protocols.add_argument("names", nargs="*", default=PROTOCOLS, help="files in lora_core/config/protocols")
    return parser.parse_args(arguments)


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("lora-core")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _doctor(options: argparse.Namespace) -> int:
    from lora_core.commands import doctor

    return doctor.main()


def _status(options: argparse.Namespace) -> None:
    from lora_core.commands.studies import read_study

    study = read_study(options.configfile)
    if options.why is None:
        from lora_core.commands import slurm_jobs, status
        from lora_core.layout import Layout

        print(plain(status.format_status(study, status.read_runs(study))))
        if pending := slurm_jobs.format_pending(Layout(study.results_dir)):
            print("", *pending, sep="\n")
        return
    from lora_core.commands import run_names, why

    runs = run_names.select_runs(study, options.why) if options.why else list(run_names.study_runs(study))
    print(plain(why.format_why(study, runs, selected=bool(options.why))))


def _keep(options: argparse.Namespace) -> None:
    from lora_core.commands import keep, run_names
    from lora_core.commands.studies import read_study

    study = read_study(options.configfile)
    runs = run_names.select_runs(study, options.runs)
    is_changed = False
    for line in keep.undo(study, runs) if options.undo else keep.keep(study, runs, options.because):
        print(line)
        is_changed |= not line.endswith(keep.NOTHING)
    if is_changed:
        print("Tables and the report follow when the study is run again.")


def _summary(options: argparse.Namespace) -> None:
    from lora_core.commands import summary
    from lora_core.commands.studies import read_study

    print(plain(summary.format_summary(read_study(options.configfile))))


def _silence_libraries() -> None:
    """Keep the progress bars and load reports of libraries from the terminal, as in jobs; before they are imported."""
    import os

    from lora_core.job import SILENCE_LIBRARIES

    os.environ.update(SILENCE_LIBRARIES)


def _estimate(options: argparse.Namespace) -> None:
    _silence_libraries()
    from lora_core.commands import estimate, predicted_step_costs, status, step_costs
    from lora_core.commands.studies import read_study

    study = read_study(options.configfile)
    costs = predicted_step_costs.predict(study)
    if costs is None:
        print("A short trial on this machine ...", flush=True)
        costs = step_costs.run_trial(study)
    print(estimate.format_estimate(study, costs, status.read_runs(study)))


def _compare(options: argparse.Namespace) -> None:
    from lora_core.commands import compare

    print(plain(compare.compare_studies(options.a, options.b)))


def _bundle(options: argparse.Namespace) -> None:
    from lora_core.commands import bundle

    bundle.pack(options.configfile, options.archive)
    print(f"{options.archive}: {options.archive.stat().st_size / 1e6:.1f} MB")


def _verify_bundle(options: argparse.Namespace) -> int:
    from lora_core.commands import verify_bundle

    differences = verify_bundle.verify(options.archive)
    for name, difference in differences.items():
        print(plain(f"{name} {difference}"))
    if not differences:
        print("Every table and figure came out the same.")
    elif verify_bundle.is_of_first_version(options.archive):
        print("The first version packed this bundle; the form of tables and figures has changed since: compare values.")
    return bool(differences)


def _export(options: argparse.Namespace) -> None:
    import shlex

    from lora_core.reporting.exports import formats

    grid = None
    if options.to == "codecarbon":
        from lora_core.commands.studies import grid_of

        grid = grid_of(options.results, options.configfile)
    written = formats.export(options.results, options.to, options.folder, grid)
    print(f"{options.folder}: open it with {written.reader.format(folder=shlex.quote(str(options.folder)))}")
    if options.to == "codecarbon" and grid is None:
        print(
            "The emissions are empty: no configuration of these results sets model_card.grid_co2_grams_per_kwh; name "
            "theirs with --configfile."
        )


def _glue_submission(options: argparse.Namespace) -> None:
    _silence_libraries()
    from lora_core.commands import glue_submission

    names = glue_submission.write_submission(options.results, options.folder, options.method, options.seed)
    print(f"{options.folder}: {', '.join(names)}; GLUE takes a ZIP archive with a file for each of its tasks")
    if without := glue_submission.tasks_without_file(names):
        print(f"There is no run, and so no file, of {', '.join(without)}.")


def _publish(options: argparse.Namespace) -> None:
    import tempfile

    from lora_core.commands import publish, upload
    from lora_core.commands.studies import read_study

    request = publish.Request(options.folder, options.repo, options.merged, options.base)
    with tempfile.TemporaryDirectory(prefix="lora-core-publish-") as folder:
        prepared = publish.prepare(read_study(options.configfile), request, Path(folder))
        print(plain(publish.format_upload(prepared, upload.hub_address())), flush=True)
        if options.yes:
            address = upload.upload_folder(prepared, private=options.private, update=options.update)
            print(f"\nUploaded to {address}")
        else:
            print("\nNothing was uploaded: this was a dry run; add --yes to upload.")


def _unlock(options: argparse.Namespace) -> int:
    from lora_core.commands import unlock
    from lora_core.commands.studies import check_config_files

    check_config_files(options.configfile)  # `make tables` begins with this command, before Snakemake reads the files
    return unlock.remove_stale_lock(options.configfile)


def _results_dir(options: argparse.Namespace) -> None:
    from lora_core.commands.studies import read_study

    print(read_study(options.configfile).results_dir)


def _schema(options: argparse.Namespace) -> None:
    from lora_core.config.study import json_schema
    from lora_core.reporting.catalogue import OPTIONAL_TABLES

    print(json_schema(OPTIONAL_TABLES), end="")


def _protocols(options: argparse.Namespace) -> None:
    from lora_core.config import protocol

    print(protocol.compare(*options.names), end="")


if __name__ == "__main__":
    raise SystemExit(main())
