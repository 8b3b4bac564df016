# A measured job has its device, on a CPU the whole machine, to itself: one `device`, all threads.
rule train:
    input:
        model=rules.prepare_model.output,
        data=rules.tokenize_dataset.output,
        start=start_weights,
    output:
        run=f"{RUN}/run.json",
        history=f"{RUN}/history.csv",
        power=f"{RUN}/power.csv",
        predictions=f"{RUN}/predictions.safetensors",
        weights=directory(f"{RUN}/weights"),
    log:
        f"{LOGS}/train/{{method}}/{{task}}/seed{{seed}}.log",
    priority: run_priority
    conda:
        ENVIRONMENT
    threads: measured_threads
    resources:
        **needs("measured"),
        device=1,
    params:
        spec=run_spec,
        checkpoints=CHECKPOINT,
        code=lambda wildcards: method_code("train.py", [wildcards.method]),
    script:
        "../scripts/train.py"


rule merge_adapter:
    input:
        model=rules.prepare_model.output,
        weights=rules.train.output.weights,
    output:
        directory(MERGED),
    log:
        f"{LOGS}/merge_adapter/{{method}}/{{task}}/seed{{seed}}.log",
    wildcard_constraints:
        method="|".join(map(re.escape, MERGING)),
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        code=code("merge_adapter.py"),
    script:
        "../scripts/merge_adapter.py"
