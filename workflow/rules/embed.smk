# Stage 1: every sample through the frozen encoder once.


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
        spec=lambda wildcards: PLAN.datasets[wildcards.dataset].model_dump_json(exclude={"folds"}),
        source=source_fingerprint("datasets"),
    message:
        "Listing the samples of {wildcards.dataset}"
    shell:
        "daam-bench step list-samples {wildcards.dataset} {output:q} --spec {params.spec:q} --log {log:q}"


# The store itself is no output: Snakemake would delete it when a job fails, and a resumed job continues it.
rule extract_embeddings:
    input:
        lambda wildcards: asset_marker(PLAN.encoders[wildcards.encoder].model),
        samples="results/samples/{dataset}.parquet",
    output:
        "results/embeddings/{dataset}/{encoder}/manifest.json",
    log:
        "results/logs/extract_embeddings/{dataset}/{encoder}.log",
    benchmark:
        "results/benchmarks/extract_embeddings/{dataset}/{encoder}.tsv"
    threads: 16
    params:
        spec=extraction_spec,
        source=source_fingerprint("encoders", "cache"),
    message:
        "Extracting the embeddings of {wildcards.dataset} with {wildcards.encoder}"
    shell:
        "daam-bench step extract-embeddings {input.samples:q} {output:q}"
        " --spec {params.spec:q} --log {log:q}"
