# Stage 2, encoder LoRA: all folds and seeds of one encoder variant, end to end on raw samples.


TUNING_SOURCE = source_fingerprint("adapters", "encoders", "training", "tuning", "cache/reader.py")


# The cache says which samples take part, in which order; none of its values are read. Finished replicas beside
# the output survive a killed job, and the one in training goes on from its last epoch.
rule tune_encoder:
    input:
        lambda wildcards: asset_marker(PLAN.datasets[wildcards.dataset].path),
        lambda wildcards: asset_marker(PLAN.encoders[wildcards.encoder].model),
        "results/samples/{dataset}.leakage.csv",
        cache="results/embeddings/{dataset}/{encoder}/manifest.json",
        samples="results/samples/{dataset}.parquet",
    output:
        "results/runs/{dataset}/{encoder}/{encoder_variant}/finished.json",
    log:
        "results/logs/tune_encoder/{dataset}/{encoder}/{encoder_variant}.log",
    benchmark:
        "results/benchmarks/tune_encoder/{dataset}/{encoder}/{encoder_variant}.tsv"
    threads: 16
    params:
        spec=tuning_spec,
        cache=cache_origin,
        source=TUNING_SOURCE,
    message:
        "Tuning {wildcards.encoder} on {wildcards.dataset}: {wildcards.encoder_variant}"
    shell:
        "daam-bench step tune-encoder {input.cache:q} {input.samples:q} {output:q} --spec {params.spec:q}"
        " --log {log:q}"
