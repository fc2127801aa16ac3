# Stage 1: every sample through the frozen encoder once.


# A cluster deals one cache to several jobs: snakemake --set-scatter extraction=8
scattergather:
    extraction=1,


rule cache:
    input:
        all_manifests(),


rule list_samples:
    input:
        lambda wildcards: asset_marker(PLAN.datasets[wildcards.dataset].path),
    output:
        "results/samples/{dataset}.parquet",
    log:
        "results/logs/list_samples/{dataset}.log",
    benchmark:
        "results/benchmarks/list_samples/{dataset}.tsv"
    params:
        spec=listing_spec,
        contents=samples_contents,
        source=source_fingerprint("datasets"),
    message:
        "Listing the samples of {wildcards.dataset}"
    shell:
        "daam-bench step list-samples {wildcards.dataset} {output:q} --spec {params.spec:q} --log {log:q}"


# Stops before anything is trained if samples cannot be dealt to folds, or if one is trained on and scored on at
# once. Extraction, which folds do
# not concern, must not have it as `ancient` input: below such a job Snakemake overlooks changed params.
rule check_leakage:
    input:
        "results/samples/{dataset}.parquet",
    output:
        "results/samples/{dataset}.leakage.csv",
    log:
        "results/logs/check_leakage/{dataset}.log",
    benchmark:
        "results/benchmarks/check_leakage/{dataset}.tsv"
    priority: 100  # before extraction, which it may spare
    params:
        spec=lambda wildcards: PLAN.datasets[wildcards.dataset].model_dump_json(
            include={"kind", "path", "folds", "accept_leakage"}
        ),
        origin=samples_origin,
        source=source_fingerprint("datasets/leakage.py", "training/folds.py"),
    message:
        "Looking for leakage between the splits of {wildcards.dataset}"
    shell:
        "daam-bench step check-leakage {input:q} {output:q} --spec {params.spec:q} --log {log:q}"


# The store itself is no output: Snakemake would delete it when a job fails, and a resumed job continues it.
rule extract_part:
    input:
        lambda wildcards: asset_marker(PLAN.encoders[wildcards.encoder].model),
        samples="results/samples/{dataset}.parquet",
    output:
        temp("results/embeddings/{dataset}/{encoder}/parts/{scatteritem}.json"),
    log:
        "results/logs/extract_part/{dataset}/{encoder}/{scatteritem}.log",
    benchmark:
        "results/benchmarks/extract_part/{dataset}/{encoder}/{scatteritem}.tsv"
    threads: 16
    params:
        spec=extraction_spec,
        weights=weights_contents,
        samples=samples_origin,
        source=source_fingerprint("encoders", "cache/extraction.py", "cache/batches.py"),
    message:
        "Extracting the embeddings of {wildcards.dataset} with {wildcards.encoder}, part {wildcards.scatteritem}"
    shell:
        "daam-bench step extract-part {input.samples:q} {output:q} --part {wildcards.scatteritem}"
        " --spec {params.spec:q} --chunk-mebibytes {CONFIG.cache.chunk_mebibytes} --log {log:q}"


rule extract_embeddings:
    input:
        parts=gather.extraction("results/embeddings/{{dataset}}/{{encoder}}/parts/{scatteritem}.json"),
        samples="results/samples/{dataset}.parquet",
    output:
        "results/embeddings/{dataset}/{encoder}/manifest.json",
    log:
        "results/logs/extract_embeddings/{dataset}/{encoder}.log",
    benchmark:
        "results/benchmarks/extract_embeddings/{dataset}/{encoder}.tsv"
    params:
        spec=extraction_spec,
        origin=cache_origin,
    message:
        "Completing the cache of {wildcards.dataset} with {wildcards.encoder}"
    shell:
        "daam-bench step finish-cache {input.samples:q} {input.parts:q} --manifest {output:q}"
        " --spec {params.spec:q} --chunk-mebibytes {CONFIG.cache.chunk_mebibytes} --log {log:q}"
