"""Probe a whole plan: each encoder on its dataset once, each variant once for a number of layers."""

from pathlib import Path

from daam_bench.cache.manifest import MANIFEST
from daam_bench.config import Config
from daam_bench.costs.jobs import planned_jobs
from daam_bench.costs.probe import probe_encoder, probe_variant
from daam_bench.costs.probed import Probes, facts_of_rate, facts_of_step
from daam_bench.costs.sizes import dataset_size, encoder_shape
from daam_bench.errors import DaamBenchError
from daam_bench.plan import Plan
from daam_bench.threads import OF_TRAINING, computing_with


def run_probe(config: Config, plan: Plan, results: Path) -> None:
    """Probe what a plan needs on this machine, and keep what was found beside the results."""
    probes = Probes(results)
    for place in plan.caches:
        facts = facts_of_rate(config, plan, place)
        dataset, encoder = plan.datasets[place[0]], plan.encoders[place[1]]
        try:
            probes.keep(facts, probe_encoder(place[1], encoder, dataset, facts["short_clips"]))
        except (DaamBenchError, OSError) as error:
            probes.keep(facts, " ".join(str(error).split()))
        _probe_variants(config, plan, place, results, probes)
    probes.write()


def _probe_variants(
    config: Config, plan: Plan, place: tuple[str, str], results: Path, probes: Probes
) -> None:
    shape, _ = encoder_shape(plan.encoders[place[1]], results / "embeddings" / Path(*place) / MANIFEST)
    classes = dataset_size(place[0], plan.datasets[place[0]], results).classes
    if shape is None or classes is None:
        return
    done = set()
    protocol = config.protocol.model_dump(mode="json")
    for job in planned_jobs(config, plan, place):
        if job.predictable and (job.variant, job.layers) not in done:
            done.add((job.variant, job.layers))
            variant = plan.variants[job.variant]
            seen = job.layers_of(shape[0]), shape[1]
            with computing_with(OF_TRAINING):
                cost = probe_variant(variant, seen, classes, job.training, config.protocol)
            probes.keep(facts_of_step(job, shape, classes, protocol), cost)
