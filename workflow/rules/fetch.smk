# Pinned files of packages.


rule assets:
    input:
        expand("resources/{asset}.json", asset=PLAN.assets),


# Also what only other configurations use: tests run on all of them.
rule all_assets:
    input:
        expand("resources/{asset}.json", asset=ASSETS),


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
        pinned=lambda wildcards: ASSETS[wildcards.asset].pinned,
    message:
        "Fetching {wildcards.asset}"
    shell:
        "daam-bench step fetch-asset {wildcards.asset} {params.folder:q} {output:q} --log {log:q}"
