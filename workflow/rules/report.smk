rule collect_runs:
    input:
        RUNS,
    output:
        f"{RESULTS}/runs.csv",
    log:
        f"{LOGS}/collect_runs.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("collect_runs.py"),
    script:
        "../scripts/collect_runs.py"


rule render_table:
    input:
        records=table_records,
        beside=table_neighbours,
    output:
        md=f"{TABLE}.md",
        csv=f"{TABLE}.csv",
        tex=f"{TABLE}.tex",
    log:
        f"{LOGS}/render_table/{{number}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        settings=table_settings,
        code=code("render_table.py"),
    script:
        "../scripts/render_table.py"


# Of the adapter methods, at the first seed: own LoRA and loralib start from the same values.
rule draw_loss_curves:
    input:
        run=expand(
            f"{RUN}/run.json", method=MERGING, task=study.tasks, seed=study.seeds[:1]
        ),
        predictions=expand(
            f"{RUN}/predictions.safetensors",
            method=MERGING,
            task=study.tasks,
            seed=study.seeds[:1],
        ),
    output:
        svg=f"{RESULTS}/figures/loss_curves.svg",
        csv=f"{RESULTS}/figures/loss_curves.csv",
    log:
        f"{LOGS}/draw_loss_curves.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("draw_loss_curves.py"),
    script:
        "../scripts/draw_loss_curves.py"


rule judge_claims:
    input:
        counts=rules.count_parameters.output,
        scores=SCORED,
        latency=TIMED,
        beside=DIFFERENCES + TIMED_JSON,
        runs=RUNS,
        costs=COSTS,
    output:
        md=f"{RESULTS}/claims.md",
        csv=f"{RESULTS}/claims.csv",
    log:
        f"{LOGS}/judge_claims.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        study=sources.describe(study, batching=True),
        margin=study.measure.latency_margin,
        code=code("judge_claims.py"),
    script:
        "../scripts/judge_claims.py"
