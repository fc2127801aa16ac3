# Pinned files of packages.


rule assets:
    input:
        expand("resources/{asset}.json", asset=PLAN.assets),


rule fetch_asset:
    output:
        "resources/{asset}.json",
    log:
        "results/logs/fetch_asset/{asset}.log",
    benchmark:
        "results/benchmarks/fetch_asset/{asset}.tsv"
    localrule: True
    params:
        folder="resources/{asset}",
        pinned=lambda wildcards: ASSETS[wildcards.asset].archive_sha256,
    message:
        "Fetching {wildcards.asset}"
    shell:
        "daam-bench step fetch-asset {wildcards.asset} {params.folder:q} {output:q} --log {log:q}"
