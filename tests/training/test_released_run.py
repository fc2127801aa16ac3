"""Protocol `released` from end to end, against a plain loop written out as the released scripts go.

The reference shares with the package the initial weights and the order of the samples, and nothing else.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from daam_bench.config import Protocol, TrainingConfig
from daam_bench.heads import build_model
from daam_bench.training.replica import Replica, Split
from daam_bench.training.source import Buffer, ResidentSource
from daam_bench.training.together import train_together

SAMPLES, LAYERS, FEATURES, CLASSES, CHANNELS = 61, 6, 14, 3, 5
EPOCHS, BATCH, RATE, SEED = 15, 8, 1e-3, (5, 2)
GRIDS = {14: (2, 7), 512: (16, 32)}
Weights = dict[str, Tensor]


def multi_head(x: Tensor, w: Weights, heads: int = 7) -> Tensor:
    """[batch, layer, feature] given to a module that expects the sequence first: samples attend."""
    projected = x @ w["attention.attention.in_proj_weight"].T + w["attention.attention.in_proj_bias"]
    q, k, v = projected.chunk(3, dim=-1)
    outputs = []
    for part in range(heads):
        size = FEATURES // heads
        own = slice(part * size, (part + 1) * size)
        logits = torch.einsum("anf,bnf->nab", q[..., own], k[..., own]) / math.sqrt(size)
        outputs.append(torch.einsum("nab,bnf->anf", logits.softmax(-1), v[..., own]))
    joined = torch.cat(outputs, dim=-1)
    return joined @ w["attention.attention.out_proj.weight"].T + w["attention.attention.out_proj.bias"]


def batch_norm(x: Tensor, w: Weights, running: Weights, training: bool) -> Tensor:
    """Layers are the channels; running statistics with a momentum of a tenth, the variance unbiased."""
    mean, variance = running["mean"], running["variance"]
    if training:
        mean, variance = x.mean(dim=(0, 2)), x.var(dim=(0, 2), unbiased=False)
        values = x.shape[0] * x.shape[2]
        running["mean"] = 0.9 * running["mean"] + 0.1 * mean.detach()
        unbiased = variance.detach() * values / (values - 1)
        running["variance"] = 0.9 * running["variance"] + 0.1 * unbiased
    scaled = (x - mean[:, None]) / torch.sqrt(variance[:, None] + 1e-5)
    return scaled * w["attention.norm.weight"][:, None] + w["attention.norm.bias"][:, None]


def density(x: Tensor, w: Weights, prefix: str) -> Tensor:
    """x * DA, the heads on equal slices of the layers; the scaled variance may turn negative."""
    deltas, variances = w[f"{prefix}mean_offset"], w[f"{prefix}scaled_variance"]
    outputs = []
    for part, delta, xi in zip(x.chunk(len(deltas), dim=1), deltas, variances, strict=True):
        mu = part.mean(dim=1, keepdim=True)
        v = (part.square().mean(dim=1, keepdim=True) - mu**2).abs() + 1e-8
        z = (part - (mu + delta)) / torch.sqrt(v + 1e-5)
        outputs.append(part * torch.exp(-(z**2) / (2 * xi)))
    return torch.cat(outputs, dim=1)


def grouped_queries(x: Tensor, w: Weights) -> Tensor:
    """Four query heads summed before the softmax, the scale applied twice; two key/value heads of size 64."""
    x = x @ w["attention.projection.weight"].T + w["attention.projection.bias"]
    q, k, v = (
        x @ w[f"attention.attention.{name}.weight"].T + w[f"attention.attention.{name}.bias"]
        for name in ("query", "key", "value")
    )
    joined = []
    for head in range(2):
        own = slice(64 * head, 64 * (head + 1))
        queries = [q[..., 64 * i : 64 * (i + 1)] / 8 for i in range(4 * head, 4 * (head + 1))]
        logits = sum(query @ k[..., own].transpose(1, 2) for query in queries)
        joined.append((logits / 8).softmax(-1) @ v[..., own])
    y, norm = torch.cat(joined, dim=-1), "attention.attention.norm"
    y = F.layer_norm(y, (128,), w[f"{norm}.weight"], w[f"{norm}.bias"])
    return y @ w["attention.attention.output.weight"].T + w["attention.attention.output.bias"]


def logits_of(variant: str, x: Tensor, w: Weights, running: Weights, training: bool) -> Tensor:
    if variant.startswith("mha"):
        x = multi_head(x, w)
        if variant == "mha_bn":
            x = batch_norm(x, w, running, training)
    elif variant == "daam_v1":
        x = density(x, w, "attention.")
    else:
        x = grouped_queries(density(x, w, "attention.density_attention."), w)
    image = x.reshape(len(x), LAYERS, *GRIDS[x.shape[-1]])
    for index in (0, 2):
        part = f"decoder.convolutions.{index}"
        image = F.conv2d(image, w[f"{part}.weight"], w[f"{part}.bias"], padding=1).relu()
    return image.flatten(1) @ w["decoder.classifier.weight"].T + w["decoder.classifier.bias"]


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    loss = -logits.log_softmax(-1)[torch.arange(len(labels)), labels]
    return (0.25 * (1 - torch.exp(-loss) + 1e-6) ** 2.5 * loss).mean()


def released_run(variant, weights, x, labels, fitted, validation):
    """Return (loss, accuracy, learning rate) of every epoch, the best epoch, and its predictions."""
    w = {name: value.clone().requires_grad_() for name, value in weights.items()}
    running = {"mean": torch.zeros(LAYERS), "variance": torch.ones(LAYERS)}
    optimizer = torch.optim.AdamW(list(w.values()), lr=RATE, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.1, patience=10)
    epochs, best, best_epoch, best_predictions = [], -1.0, 0, None
    for epoch in range(1, EPOCHS + 1):
        order = torch.from_numpy(np.random.default_rng([*SEED, epoch, 0]).permutation(fitted))
        rate, total = optimizer.param_groups[0]["lr"], 0.0
        for rows in order.split(BATCH):
            loss = focal(logits_of(variant, x[rows], w, running, training=True), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        with torch.no_grad():
            parts = [
                logits_of(variant, x[rows], w, running, training=False).argmax(dim=1)
                for rows in torch.from_numpy(validation).split(BATCH)
            ]
        predictions = torch.cat(parts)
        accuracy = (predictions == labels[validation]).double().mean().item()
        scheduler.step(accuracy)
        epochs.append((total / len(fitted), accuracy, rate))
        if accuracy > best:
            best, best_epoch, best_predictions = accuracy, epoch, predictions
    return epochs, best_epoch, best_predictions


@pytest.mark.parametrize(
    ("variant", "precision"),
    [
        ("mha", torch.float32),
        ("mha_bn", torch.float32),
        ("daam_v1", torch.float32),
        # Gradients of the summed queries are as small as 1e-10: Adam makes whole steps of their last digits.
        ("gqdaam", torch.float64),
    ],
    ids=str,
)
def test_training_as_released_is_the_released_loop(variant, precision, monkeypatch):
    take = Buffer.take
    monkeypatch.setattr(Buffer, "take", lambda *arguments: take(*arguments).to(precision))
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(SAMPLES, LAYERS, FEATURES, generator=generator)
    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)  # nothing to learn: the rate will fall
    rows = np.arange(SAMPLES)
    validation, fitted = rows[::3], np.setdiff1d(rows, rows[::3])
    protocol = Protocol.model_validate("released")
    training = TrainingConfig(
        epochs=EPOCHS,
        batch_size=BATCH,
        learning_rate=RATE,
        loss="focal",
        precision="float32",
        decoder_channels=CHANNELS,
    )
    torch.manual_seed(3)
    model = build_model(variant, LAYERS, FEATURES, CLASSES, protocol, decoder_channels=CHANNELS).to(precision)
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    replica = Replica(model, labels, Split(fitted, None, validation), training, protocol, SEED)
    train_together([replica], ResidentSource(x, 2**10, 2**30))
    found = replica.outcome()

    data = (x.to(precision), labels, fitted, validation)
    epochs, best_epoch, predictions = released_run(variant, weights, *data)
    losses, accuracies, rates = zip(*epochs, strict=True)
    assert [e.train_loss for e in found.epochs] == pytest.approx(losses, rel=1e-4)
    assert [e.validation_score for e in found.epochs] == pytest.approx(accuracies)
    assert [e.learning_rate for e in found.epochs] == pytest.approx(rates)
    assert found.selected_epoch == best_epoch
    assert torch.equal(found.predictions, predictions)
    assert best_epoch > 1 or rates[-1] < RATE
