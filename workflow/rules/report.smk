rule collect_runs:
    input:
        RUNS,
    output:
        f"{RESULTS}/runs.csv",
    log:
        f"{LOGS}/collect_runs.log",
    conda:
        ENVIRONMENT
    params:
        code=code("collect_runs.py"),
    script:
        "../scripts/collect_runs.py"


rule render_table:
    input:
        table_records,
    output:
        md=f"{TABLE}.md",
        csv=f"{TABLE}.csv",
        tex=f"{TABLE}.tex",
    log:
        f"{LOGS}/render_table/{{number}}.log",
    conda:
        ENVIRONMENT
    params:
        settings=table_settings,
        code=code("render_table.py"),
    script:
        "../scripts/render_table.py"
