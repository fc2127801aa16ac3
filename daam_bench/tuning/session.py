"""An encoder opened for tuning: loaded, adapted and proven once, for all folds and seeds of a job."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from daam_bench.adapters.low_rank import Injection, LowRankAdapters, attach_adapters
from daam_bench.adapters.proof import Proof, prove_adapters
from daam_bench.adapters.targets import READS_WEIGHTS, find_projections
from daam_bench.encoders.base import OpenEncoder, load_encoder
from daam_bench.training.bench import Bench
from daam_bench.training.job import Place, split_of
from daam_bench.tuning.cost import median_row
from daam_bench.tuning.model import ClassificationHead, EncoderClassifier, last_hidden_mean
from daam_bench.tuning.optimization import freeze_head
from daam_bench.tuning.replica import TunedReplica
from daam_bench.tuning.samples import SampleReader
from daam_bench.tuning.spec import TuningSpec


@dataclass(frozen=True)
class Session:
    """What the replicas of a job share, one after another.

    Attributes:
        spec: the job.
        bench: samples and folds.
        encoder: with its adapters, which each replica starts anew.
        reader: of the raw samples.
        adapters: the updates.
        proof: that they work.
    """

    spec: TuningSpec
    bench: Bench
    encoder: OpenEncoder
    reader: SampleReader
    adapters: LowRankAdapters
    proof: Proof

    def replica(self, place: Place) -> TunedReplica:
        """Return the replica of a fold and seed at its start; those made before must not go on."""
        fold, seed = place
        entry, device = self.spec.entry(), self.bench.device
        torch.manual_seed(seed)
        self.adapters.reset()
        settings: Any = self.encoder.model.config
        projection = getattr(settings, "classifier_proj_size", None)
        head = ClassificationHead(self.encoder.features, projection, len(self.bench.cache.class_names))
        freeze_head(head, entry, settings.model_type, self.spec.protocol)
        model = EncoderClassifier(self.encoder, self.reader, self.adapters, head.to(device))
        labels = torch.from_numpy(self.bench.labels).to(device)
        split = split_of(self.spec, self.bench, place)
        order = (seed, fold.index)
        return TunedReplica(
            model, labels, split, self.spec.budget, self.spec.protocol, order, lora_plus=entry.lora_plus
        )


def open_session(spec: TuningSpec, bench: Bench, samples: pd.DataFrame) -> Session:
    """Load the encoder, attach its adapters and prove on a sample of median length that they work.

    Raises:
        EncoderError: if the encoder cannot be opened or adapted, or an adapter does nothing.
        CacheError: if the samples are not those of the cache.
    """
    encoder = load_encoder(spec.encoder, spec.tuned_encoder, spec.protocol.short_clips)
    reader = SampleReader(encoder, samples, bench.cache)
    lengths = bench.cache.lengths[bench.usable]
    # Softmax over a single position is 1 whatever the projections are.
    provable = (lengths > 1).nonzero()[0]
    row = median_row(lengths, provable if len(provable) else bench.folds[0].train)
    example = [sample.prepared for sample in reader.take([row])]
    with torch.no_grad():
        frozen = last_hidden_mean(encoder, example)
    torch.manual_seed(0)  # the proof is the same each time; replicas have seeds of their own
    projections = find_projections(encoder.model, spec.protocol.encoder_lora_targets, encoder.layers)
    adapters = attach_adapters(
        encoder.model, projections, spec.entry().rank, spec.scale, injection_of(spec, encoder)
    )
    where = f"{spec.encoder} ({type(encoder.model).__name__})"
    proof = prove_adapters(adapters, lambda: last_hidden_mean(encoder, example), frozen, where)
    return Session(spec, bench, encoder, reader, adapters, proof)


def injection_of(spec: TuningSpec, encoder: OpenEncoder) -> Injection:
    """Return how the updates are put in: as configured, or else by architecture."""
    if spec.tuning.injection != "auto":
        return spec.tuning.injection
    return "weights" if encoder.model.config.model_type in READS_WEIGHTS else "modules"
