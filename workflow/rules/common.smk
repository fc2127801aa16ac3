# The checked plan, and what the rules ask of it. A wrong configuration stops here, before any job.
import json
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from daam_bench import specs
from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.analysis.captions import run_counts, study_counts
from daam_bench.analysis.names import figure_kinds, study_figure_names, study_table_names, table_names
from daam_bench.assets import ASSETS
from daam_bench.config import parse_config
from daam_bench.contents import contents_fingerprint
from daam_bench.errors import DaamBenchError
from daam_bench.fingerprint import source_fingerprint
from daam_bench.plan import make_plan
from daam_bench.training.names import BASELINES

try:
    CONFIG = parse_config(config, "the configuration")
    PLAN = make_plan(CONFIG)
    STUDIES = {job.place: job for job in PLAN.studies}
except DaamBenchError as error:
    raise WorkflowError(str(error)) from None

for missing in PLAN.missing:
    print(f"missing: {missing}", file=sys.stderr)


# Only a real run comes here: a dry run shows the plan of data that are yet to come.
onstart:
    if PLAN.missing:
        raise WorkflowError(str(PLAN.missing[0]))


# Jobs use the commands of the environment that Snakemake runs in, activated or not.
shell.prefix(f'export PATH="{Path(sys.executable).parent}:$PATH"; ')


wildcard_constraints:
    asset="|".join(ASSETS),
    dataset="|".join(PLAN.datasets),
    encoder="|".join(PLAN.encoders),
    variant="|".join([*PLAN.variants, *BASELINES]),
    encoder_variant="|".join(ENCODER_VARIANTS),


def asset_marker(path):
    """Return the file that says that the asset of a path was fetched, if it belongs to one."""
    parts = path.split("/")
    if parts[0] == "resources" and len(parts) > 1 and parts[1] in ASSETS:
        return [f"resources/{parts[1]}.json"]
    return []


def contents_of(path, revision, *endings):
    """Return what lies at a path of the user's own; a pinned asset has its marker, a hub id its commit."""
    if revision is not None or asset_marker(path):
        return "pinned"
    return contents_fingerprint(Path(path), Path(".snakemake/contents.json"), endings)


def samples_contents(wildcards):
    """Return the fingerprint of a dataset's files."""
    dataset = PLAN.datasets[wildcards.dataset]
    return contents_of(dataset.path, dataset.revision)


def weights_contents(wildcards):
    """Return the fingerprint of an encoder's weights and settings."""
    encoder = PLAN.encoders[wildcards.encoder]
    return contents_of(encoder.model, encoder.revision, ".safetensors", ".bin", ".json", ".txt", ".model")


def extraction_spec(wildcards):
    """Return the job of one cache as JSON."""
    return json.dumps(specs.extraction_spec(CONFIG, PLAN, wildcards.dataset, wildcards.encoder))


def training_spec(wildcards):
    """Return the job of one variant, or one baseline, on one cache as JSON."""
    place = (wildcards.dataset, wildcards.encoder, wildcards.variant)
    return json.dumps(specs.training_spec(CONFIG, PLAN, *place))


def tuning_spec(wildcards):
    """Return the job of one encoder variant as JSON."""
    place = (wildcards.dataset, wildcards.encoder, wildcards.encoder_variant)
    return json.dumps(specs.tuning_spec(CONFIG, PLAN, *place))


def derived(ordinary, wildcards, variant):
    """Return an ordinary job under the protocol and seeds of a derived one, as JSON."""
    job = STUDIES[f"{wildcards.dataset}/{wildcards.encoder}/{wildcards.study}/{variant}"]
    changes = {"protocol": job.protocol.model_dump(mode="json"), "seeds": list(job.seeds)}
    return json.dumps(json.loads(ordinary) | changes)


def study_spec(wildcards):
    """Return a derived training job as JSON."""
    return derived(training_spec(wildcards), wildcards, wildcards.variant)


def tuning_study_spec(wildcards):
    """Return a derived job of encoder LoRA as JSON."""
    return derived(tuning_spec(wildcards), wildcards, wildcards.encoder_variant)


def choice_spec(wildcards):
    """Return the picks of layers that the ablations of a variant need, as JSON."""
    place = (wildcards.dataset, wildcards.encoder, wildcards.variant)
    jobs = [j for j in PLAN.studies if j.pick and (j.dataset, j.encoder, j.variant) == place]
    return json.dumps({"picks": [job.pick.name for job in jobs], "seeds": list(jobs[0].seeds)})


def variants_of(dataset, encoder):
    """Return all that has results on one cache: baselines, variants, encoder variants."""
    return [*BASELINES, *PLAN.variants_of(dataset, encoder), *PLAN.encoder_variants_of(dataset, encoder)]


def all_records():
    """Return the finished lists of every variant and baseline of the plan."""
    return [
        f"results/runs/{dataset}/{encoder}/{variant}/finished.json"
        for dataset, encoder in PLAN.caches
        for variant in variants_of(dataset, encoder)
    ]


def all_studies():
    """Return the finished lists of every derived run of the plan."""
    return [f"results/studies/{job.place}/finished.json" for job in PLAN.studies]


def study_tables():
    """Return every table of the studies; what the choice of the epoch is worth needs none."""
    return [f"results/tables/{name}" for name in study_table_names({job.name.kind for job in PLAN.studies})]


def study_figures():
    """Return every picture of the studies."""
    ablated = {(j.dataset, j.encoder, j.variant, j.pick.block): None for j in PLAN.studies if j.pick}
    return [f"results/figures/{name}" for name in study_figure_names(ablated)]


def all_manifests():
    """Return the manifests of every cache of the plan."""
    return [f"results/embeddings/{dataset}/{encoder}/manifest.json" for dataset, encoder in PLAN.caches]


def captioned(path, name, category):
    """Return a file for Snakemake's own report, with one of the captions in workflow/report."""
    return report(path, caption=f"../report/{name}.rst", category=category)


def captioned_tables(paths, category):
    """Return tables, each with the caption of its name."""
    return [captioned(path, Path(path).name.partition(".")[0], category) for path in paths]


def captioned_figures():
    """Return every picture of the plan, each with the caption of its kind."""
    kinds = {}
    for dataset, encoder in PLAN.caches:
        densities = [v for v in PLAN.variants_of(dataset, encoder) if PLAN.variants[v].has_density]
        kinds |= figure_kinds(dataset, encoder, densities)
    paths = {
        f"results/figures/{stem}.{ending}": kind for stem, kind in kinds.items() for ending in ("png", "pdf")
    }
    return [captioned(path, kind, "Figures") for path, kind in paths.items()]
