# Stage 2: all folds and seeds of one variant, or one baseline, on one cache.


# Finished replicas beside the output survive a killed job; a resumed job trains only the others.
rule train_variant:
    input:
        "results/samples/{dataset}.leakage.csv",
        cache="results/embeddings/{dataset}/{encoder}/manifest.json",
    output:
        "results/runs/{dataset}/{encoder}/{variant}/finished.json",
    log:
        "results/logs/train_variant/{dataset}/{encoder}/{variant}.log",
    benchmark:
        "results/benchmarks/train_variant/{dataset}/{encoder}/{variant}.tsv"
    threads: 1
    params:
        spec=training_spec,
        cache=cache_origin,
        source=source_fingerprint("heads", "training", "cache/reader.py"),
    message:
        "Training {wildcards.variant} on {wildcards.dataset} x {wildcards.encoder}"
    shell:
        "daam-bench step train-variant {input.cache:q} {output:q} --spec {params.spec:q} --log {log:q}"
