rule time_inference:
    input:
        model=rules.prepare_model.output,
        data=rules.tokenize_dataset.output,
        weights=seed_of_task(f"{RUN}/weights", study.methods),
        merged=seed_of_task(MERGED, MERGING),
    output:
        csv=LATENCY,
        json=f"{RESULTS}/latency/{{task}}/seed{{seed}}.json",
    log:
        f"{LOGS}/time_inference/{{task}}/seed{{seed}}.log",
    conda:
        ENVIRONMENT
    threads: measured_threads
    resources:
        **needs("measured"),
        device=1,
    params:
        methods=timed_methods(),
        merging=MERGING,
        device=study.train.device,
        plan=latency_plan(),
        code=method_code("time_inference.py", study.methods),
    script:
        "../scripts/time_inference.py"


rule aggregate_energy:
    input:
        run=runs_of_task("run.json"),
        history=runs_of_task("history.csv"),
        power=runs_of_task("power.csv"),
    output:
        costs=ENERGY,
        curve=f"{RESULTS}/energy/{{task}}_curve.csv",
    log:
        f"{LOGS}/aggregate_energy/{{task}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("aggregate_energy.py"),
    script:
        "../scripts/aggregate_energy.py"


rule compare_scores:
    input:
        run=runs_of_task("run.json"),
        predictions=runs_of_task("predictions.safetensors"),
    output:
        scores=SCORES,
        differences=f"{RESULTS}/scores/{{task}}_differences.csv",
    log:
        f"{LOGS}/compare_scores/{{task}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("compare_scores.py"),
    script:
        "../scripts/compare_scores.py"
