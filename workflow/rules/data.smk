rule prepare_model:
    output:
        directory(MODEL),
    log:
        f"{LOGS}/prepare_model.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        source=study.model.model_dump(mode="json"),
        code=code("prepare_model.py"),
    script:
        "../scripts/prepare_model.py"


rule tokenize_dataset:
    input:
        data=data_files,
        model=rules.prepare_model.output,
    output:
        train=f"{DATA}/train.safetensors",
        validation=f"{DATA}/validation.safetensors",
        card=f"{DATA}/card.json",
    log:
        f"{LOGS}/tokenize_dataset/{{task}}.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        settings=data_settings,
        code=code("tokenize_dataset.py"),
    script:
        "../scripts/tokenize_dataset.py"


rule count_parameters:
    input:
        model=rules.prepare_model.output,
    output:
        COUNTS,
    log:
        f"{LOGS}/count_parameters.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("other"),
    params:
        methods=timed_methods(),
        code=method_code("count_parameters.py", study.methods),
    script:
        "../scripts/count_parameters.py"


# What training would take at other sizes than this study's: no data, and a real step of two models.
rule predict_memory:
    output:
        f"{RESULTS}/scaling.json",
    log:
        f"{LOGS}/predict_memory.log",
    conda:
        ENVIRONMENT
    threads: measured_threads
    resources:
        **needs("measured"),
        device=1,
    params:
        code=code(
            "predict_memory.py", "lora_core.methods.full", "lora_core.methods.lora"
        ),
    script:
        "../scripts/predict_memory.py"
