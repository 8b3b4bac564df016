"""Judge the paper's claims by this study's records."""

from pathlib import Path

from lora_core.job import job_log
from lora_core.job_records import JobSource

source = JobSource(snakemake, __file__)
with job_log(snakemake.log[0], "judge_claims", snakemake.output, source):
    from lora_core.config.description import StudyDescription
    from lora_core.evaluation.claim_evidence import ClaimRecords
    from lora_core.evaluation.claims import judge
    from lora_core.evaluation.references import References
    from lora_core.kept_runs import kept_runs
    from lora_core.reporting.claims_page import write_claims
    from lora_core.reporting.inputs import DrawSettings
    from lora_core.reporting.kept import kept_sentences

    params = snakemake.params.claims
    files = {name: [Path(file) for file in files] for name, files in snakemake.input.items()}
    (counts,) = files.pop("counts")
    notes = kept_sentences(kept_runs(files.pop("kept", [])), DrawSettings(labels=params["labels"]))
    verdicts = judge(
        ClaimRecords(counts, **files), References(**params["references"]), params["latency_margin"], params["labels"]
    )
    study = StudyDescription(**params["study"])
    write_claims(verdicts, study, md=Path(snakemake.output.md), csv=Path(snakemake.output.csv), notes=notes)
