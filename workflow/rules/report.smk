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
        unpack(table_records),
    output:
        md=f"{TABLE}.md",
        csv=f"{TABLE}.csv",
        tex=f"{TABLE}.tex",
    log:
        f"{LOGS}/render_table/{{table}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        settings=table_settings,
        code=code("render_table.py"),
    script:
        "../scripts/render_table.py"


# At the first seed, of what computes the same as own LoRA: they start from the same values.
rule draw_loss_curves:
    input:
        run=expand(
            f"{RUN}/run.json",
            method=study.same_as_lora,
            task=study.tasks,
            seed=study.seeds[:1],
        ),
        predictions=expand(
            f"{RUN}/predictions.safetensors",
            method=study.same_as_lora,
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


rule draw_scaling:
    input:
        f"{RESULTS}/scaling.json",
    output:
        svg=f"{RESULTS}/figures/scaling.svg",
        csv=f"{RESULTS}/figures/scaling.csv",
    log:
        f"{LOGS}/draw_scaling.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("draw_scaling.py"),
    script:
        "../scripts/draw_scaling.py"


if SWEPT:

    localrules:
        draw_sweep,

    rule draw_sweep:
        input:
            counts=rules.count_parameters.output,
            scores=SCORED,
            costs=COSTS,
        output:
            svg=f"{RESULTS}/figures/sweep.svg",
            csv=f"{RESULTS}/figures/sweep.csv",
        log:
            f"{LOGS}/draw_sweep.log",
        conda:
            ENVIRONMENT
        resources:
            **needs("other"),
        params:
            swept=SWEPT,
            code=code("draw_sweep.py"),
        script:
            "../scripts/draw_sweep.py"


rule draw_convergence:
    input:
        curves=expand(f"{RESULTS}/energy/{{task}}_curve.csv", task=study.tasks),
        costs=COSTS,
    output:
        svg=f"{RESULTS}/figures/convergence.svg",
        csv=f"{RESULTS}/figures/convergence.csv",
    log:
        f"{LOGS}/draw_convergence.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("draw_convergence.py"),
    script:
        "../scripts/draw_convergence.py"


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
