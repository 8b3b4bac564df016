"""Hold the paper's claims against this study's records."""

from pathlib import Path

from lora_core.job import job_log

with job_log(snakemake.log[0], "judge_claims"):
    from lora_core.evaluation import claims
    from lora_core.reporting.rendering import Study

    study = Study(**snakemake.params.study)
    files = {name: [Path(f) for f in snakemake.input[name]] for name in ("scores", "latency", "runs", "costs")}
    records = claims.Records(
        counts=Path(snakemake.input.counts[0]),
        **files,
        latency_margin=snakemake.params.margin,
        simulated=study.simulated,
    )
    claims.write(claims.judge(records), study, Path(snakemake.output.md).with_suffix(""))
