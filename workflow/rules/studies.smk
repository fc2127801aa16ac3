# Stage 2b: runs derived from the ordinary ones: other protocols, single switches, some layers only.
# Which layers an ablation keeps is known when it runs; how many and by what rule is in the plan.


rule studies:
    input:
        study_tables(),
        study_figures(),


rule choose_layers:
    input:
        "results/runs/{dataset}/{encoder}/{variant}/finished.json",
    output:
        "results/studies/{dataset}/{encoder}/layers/{variant}.json",
    log:
        "results/logs/choose_layers/{dataset}/{encoder}/{variant}.log",
    benchmark:
        "results/benchmarks/choose_layers/{dataset}/{encoder}/{variant}.tsv"
    params:
        spec=choice_spec,
        origin=lambda wildcards: joined_hash(cache_origin(wildcards), training_spec(wildcards)),
        source=source_fingerprint("analysis/layer_choice.py", "analysis/importance.py"),
    message:
        "Choosing layers by the importance of {wildcards.variant} on {wildcards.dataset} x {wildcards.encoder}"
    shell:
        "daam-bench step choose-layers {input:q} {output:q} --spec {params.spec:q} --log {log:q}"


rule train_on_layers:
    input:
        cache="results/embeddings/{dataset}/{encoder}/manifest.json",
        layers="results/studies/{dataset}/{encoder}/layers/{variant}.json",
    output:
        "results/studies/{dataset}/{encoder}/{study}/{variant}/finished.json",
    log:
        "results/logs/train_on_layers/{dataset}/{encoder}/{study}/{variant}.log",
    benchmark:
        "results/benchmarks/train_on_layers/{dataset}/{encoder}/{study}/{variant}.tsv"
    wildcard_constraints:
        study="layers-[a-z0-9_-]+",
    threads: 1
    params:
        spec=study_spec,
        cache=cache_origin,
        pick=lambda wildcards: wildcards.study.removeprefix("layers-"),
        source=source_fingerprint("heads", "training", "cache/reader.py"),
    message:
        "Training {wildcards.variant} on {wildcards.study} of {wildcards.dataset} x {wildcards.encoder}"
    shell:
        "daam-bench step train-variant {input.cache:q} {output:q} --layers {input.layers:q} --pick {params.pick}"
        " --spec {params.spec:q} --log {log:q}"


rule train_study:
    input:
        "results/samples/{dataset}.leakage.csv",
        cache="results/embeddings/{dataset}/{encoder}/manifest.json",
    output:
        "results/studies/{dataset}/{encoder}/{study}/{variant}/finished.json",
    log:
        "results/logs/train_study/{dataset}/{encoder}/{study}/{variant}.log",
    benchmark:
        "results/benchmarks/train_study/{dataset}/{encoder}/{study}/{variant}.tsv"
    wildcard_constraints:
        study="(protocol|switch)-[a-z0-9_.-]+",
    threads: 1
    params:
        spec=study_spec,
        cache=cache_origin,
        source=source_fingerprint("heads", "training", "cache/reader.py"),
    message:
        "Training {wildcards.variant} under {wildcards.study} on {wildcards.dataset} x {wildcards.encoder}"
    shell:
        "daam-bench step train-variant {input.cache:q} {output:q} --spec {params.spec:q} --log {log:q}"


rule tune_study:
    input:
        lambda wildcards: asset_marker(PLAN.datasets[wildcards.dataset].path),
        lambda wildcards: asset_marker(PLAN.encoders[wildcards.encoder].model),
        "results/samples/{dataset}.leakage.csv",
        cache="results/embeddings/{dataset}/{encoder}/manifest.json",
        samples="results/samples/{dataset}.parquet",
    output:
        "results/studies/{dataset}/{encoder}/{study}/{encoder_variant}/finished.json",
    log:
        "results/logs/tune_study/{dataset}/{encoder}/{study}/{encoder_variant}.log",
    benchmark:
        "results/benchmarks/tune_study/{dataset}/{encoder}/{study}/{encoder_variant}.tsv"
    wildcard_constraints:
        study="(protocol|switch)-[a-z0-9_.-]+",
    threads: 16
    params:
        spec=tuning_study_spec,
        cache=cache_origin,
        source=TUNING_SOURCE,
    message:
        "Tuning {wildcards.encoder} under {wildcards.study} on {wildcards.dataset}: {wildcards.encoder_variant}"
    shell:
        "daam-bench step tune-encoder {input.cache:q} {input.samples:q} {output:q} --spec {params.spec:q}"
        " --log {log:q}"


rule write_study_tables:
    input:
        all_records(),
        all_studies(),
    output:
        captioned_tables(study_tables(), "Studies"),
    log:
        "results/logs/write_study_tables.log",
    benchmark:
        "results/benchmarks/write_study_tables.tsv"
    params:
        spec=json.dumps({"records": all_records(), "studies": all_studies()}),
        runs=study_counts(PLAN),
        origin=lambda wildcards: records_origin(),
        source=source_fingerprint("analysis", "studies", "records.py"),
    message:
        "Writing the tables of the studies"
    shell:
        "daam-bench step write-study-tables results/tables --spec {params.spec:q} --log {log:q}"


if study_figures():

    rule write_study_figures:
        input:
            all_records(),
            all_studies(),
        output:
            [captioned(path, "ablation_curve", "Studies") for path in study_figures()],
        log:
            "results/logs/write_study_figures.log",
        benchmark:
            "results/benchmarks/write_study_figures.tsv"
        params:
            spec=json.dumps({"records": all_records(), "studies": all_studies()}),
            runs=study_counts(PLAN),
            origin=lambda wildcards: records_origin(),
            source=source_fingerprint("analysis", "studies", "records.py", "cache/drawing.py"),
        message:
            "Drawing the figures of the studies"
        shell:
            "daam-bench step write-study-figures results/figures --spec {params.spec:q} --log {log:q}"
