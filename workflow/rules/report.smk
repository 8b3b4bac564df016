rule collect_runs:
    input:
        RUNS,
    output:
        report(f"{RESULTS}/runs.csv", caption="../report/runs.rst", category="Runs"),
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
        csv=report(
            f"{TABLE}.csv",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
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


rule draw_figure:
    input:
        unpack(figure_records),
    output:
        svg=report(
            f"{FIGURE}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        csv=f"{FIGURE}.csv",
    log:
        f"{LOGS}/draw_figure/{{figure}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        settings=lambda wildcards: (
            {"swept": SWEPT} if wildcards.figure == "sweep" else {}
        ),
        code=code("draw_figure.py"),
    script:
        "../scripts/draw_figure.py"


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
        csv=report(
            f"{RESULTS}/claims.csv", caption="../report/claims.rst", category="Claims"
        ),
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


rule write_report:
    input:
        tables=[table for table in TABLES if table.endswith(".md")],
        figures=[figure for figure in FIGURES if figure.endswith(".svg")],
        claims=rules.judge_claims.output.csv,
        collected=rules.collect_runs.output,
        counts=rules.count_parameters.output,
        curves=CURVES,
        beside=COSTS,
        runs=RUNS,
        latency=TIMED_JSON,
    output:
        report(
            f"{RESULTS}/report.html", caption="../report/page.rst", category="Report"
        ),
    log:
        f"{LOGS}/write_report.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("write_report.py"),
    script:
        "../scripts/write_report.py"
