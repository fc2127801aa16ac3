# Stage 3: tables, figures and one page that has them all.


rule write_tables:
    input:
        all_records(),
    output:
        captioned_tables(expand("results/tables/{name}", name=table_names()), "Tables"),
    log:
        "results/logs/write_tables.log",
    benchmark:
        "results/benchmarks/write_tables.tsv"
    params:
        runs=run_counts(PLAN),
        origin=lambda wildcards: records_origin(),
        source=source_fingerprint("analysis", "records.py"),
    message:
        "Writing the tables"
    shell:
        "daam-bench step write-tables {input:q} --output results/tables --log {log:q}"


rule write_figures:
    input:
        all_records(),
    output:
        captioned_figures(),
    log:
        "results/logs/write_figures.log",
    benchmark:
        "results/benchmarks/write_figures.tsv"
    params:
        runs=run_counts(PLAN),
        origin=lambda wildcards: records_origin(),
        source=source_fingerprint("analysis", "records.py", "cache/drawing.py"),
    message:
        "Drawing the figures"
    shell:
        "daam-bench step write-figures {input:q} --output results/figures --log {log:q}"


rule write_report:
    input:
        rules.write_tables.output,
        rules.write_figures.output,
        all_studies(),
        study_figures(),
        records=all_records(),
        manifests=all_manifests(),
    output:
        "results/report.html",
    log:
        "results/logs/write_report.log",
    benchmark:
        "results/benchmarks/write_report.tsv"
    params:
        spec=json.dumps(
            {
                "title": CONFIG.title,
                "notes": CONFIG.notes,
                "records": all_records(),
                "studies": all_studies(),
                "manifests": all_manifests(),
            }
        ),
        origin=lambda wildcards: records_origin(),
        source=source_fingerprint("analysis", "records.py"),
    message:
        "Writing the report"
    shell:
        "daam-bench step write-report {output:q} --spec {params.spec:q} --log {log:q}"


rule tables:
    input:
        rules.write_tables.output,
        study_tables(),


rule figures:
    input:
        rules.write_figures.output,
        study_figures(),


rule report:
    input:
        rules.write_report.output,
