# The checked plan, and what the rules ask of it. A wrong configuration stops here, before any job.
import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

from daam_bench import specs
from daam_bench.adapters.presets import ENCODER_VARIANTS
from daam_bench.analysis.captions import run_counts, study_counts
from daam_bench.analysis.names import figure_kinds, study_figure_names, study_table_names, table_names
from daam_bench.assets import ASSETS
from daam_bench.config import parse_config
from daam_bench.contents import contents_fingerprint
from daam_bench.datasets.named import named_files
from daam_bench.datasets.registry import dataset_kind
from daam_bench.errors import DaamBenchError
from daam_bench.fingerprint import source_fingerprint
from daam_bench.locks import note_host
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
for note in PLAN.notes:
    print(f"note: {note}", file=sys.stderr)


# Only a real run comes here: a dry run shows the plan of data that are yet to come.
onstart:
    note_host(Path.cwd())
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


def contents_of(path, revision, *endings, named=()):
    """Return what lies at a path of the user's own; a pinned asset has its marker, a hub id its commit."""
    if asset_marker(path) or (revision is not None and not Path(path).exists()):
        return "pinned"
    return contents_fingerprint(Path(path), Path(".snakemake/contents.json"), endings, named)


def samples_contents(wildcards):
    """Return the fingerprint of a dataset's files."""
    dataset = PLAN.datasets[wildcards.dataset]
    if not dataset_kind(dataset.kind).reads_path:
        return "none"
    return contents_of(dataset.path, dataset.revision, named=named_files(dataset))


def weights_contents(wildcards):
    """Return the fingerprint of an encoder's weights and settings."""
    encoder = PLAN.encoders[wildcards.encoder]
    return contents_of(encoder.model, encoder.revision, ".safetensors", ".bin", ".json", ".txt", ".model")


def listing_spec(wildcards):
    """Return the job of listing a dataset's samples as JSON."""
    dataset = PLAN.datasets[wildcards.dataset]
    return dataset.model_dump_json(exclude={"folds", "accept_leakage", "metric", "loss"})


# Clocks jump, and those of two machines differ: a job that an input concerns has in its `params` what that input
# was made from, so that it runs again although its output seems to be newer.
def samples_origin(wildcards):
    """Return the hash of what a list of samples is made from."""
    return joined_hash(listing_spec(wildcards), samples_contents(wildcards))


def cache_origin(wildcards):
    """Return the hash of what a cache is made from."""
    return joined_hash(extraction_spec(wildcards), weights_contents(wildcards), samples_origin(wildcards))


@cache
def records_origin():
    """Return the hash of what all records are made from, those of studies by what they derive from."""
    made = [source_fingerprint("heads", "training", "tuning", "cache/reader.py")]
    for dataset, encoder in PLAN.caches:
        place = SimpleNamespace(dataset=dataset, encoder=encoder)
        made.append(cache_origin(place))
        trained = (*PLAN.variants_of(dataset, encoder), *BASELINES)
        made += [training_spec(SimpleNamespace(variant=name, **vars(place))) for name in trained]
        tuned = PLAN.encoder_variants_of(dataset, encoder)
        made += [tuning_spec(SimpleNamespace(encoder_variant=name, **vars(place))) for name in tuned]
    return joined_hash(*made)


def joined_hash(*parts):
    """Return the sha256 of some texts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def extraction_spec(wildcards):
    """Return the job of one cache as JSON; the size of its chunks, which changes no number, is not in it."""
    spec = specs.extraction_spec(CONFIG, PLAN, wildcards.dataset, wildcards.encoder)
    del spec["cache"]["chunk_mebibytes"]
    return json.dumps(spec)


def training_spec(wildcards):
    """Return the job of one variant, or one baseline, on one cache as JSON."""
    place = (wildcards.dataset, wildcards.encoder, wildcards.variant)
    return json.dumps(specs.training_spec(CONFIG, PLAN, *place))


def tuning_spec(wildcards):
    """Return the job of one encoder variant as JSON."""
    place = (wildcards.dataset, wildcards.encoder, wildcards.encoder_variant)
    return json.dumps(specs.tuning_spec(CONFIG, PLAN, *place))


def study_spec(wildcards):
    """Return a derived training job as JSON."""
    return derived(wildcards, wildcards.variant)


def tuning_study_spec(wildcards):
    """Return a derived job of encoder LoRA as JSON."""
    return derived(wildcards, wildcards.encoder_variant)


def derived(wildcards, variant):
    """Return a derived job of a variant as JSON."""
    job = STUDIES[f"{wildcards.dataset}/{wildcards.encoder}/{wildcards.study}/{variant}"]
    return json.dumps(specs.study_spec(CONFIG, PLAN, job))


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
