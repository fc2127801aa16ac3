"""The reference that training is tested against: one replica, all values in memory, read top to bottom."""

import copy

import numpy as np
import torch

from daam_bench.training.losses import loss_of


def train_plainly(model, embeddings, labels, fitted, validation, training, optimizer, seed, noise):
    """Return (training losses, validation accuracies, parameters) of every epoch.

    `fitted` is shuffled anew in each epoch; validation samples are predicted all at once.
    """
    losses, accuracies, states = [], [], []
    torch.set_rng_state(noise)
    for epoch in range(1, training.epochs + 1):
        order = np.random.default_rng([*seed, epoch, 0]).permutation(fitted)
        model.train()
        total = 0.0
        for start in range(0, len(order), training.batch_size):
            rows = torch.from_numpy(order[start : start + training.batch_size])
            loss = loss_of(model(embeddings[rows]), labels[rows], training)
            penalty = model.penalty(len(fitted))
            optimizer.zero_grad()
            (loss if penalty is None else loss + penalty).backward()
            optimizer.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.inference_mode():
            right = model(embeddings[validation]).argmax(dim=1) == labels[validation]
        losses.append(total / len(fitted))
        accuracies.append(right.double().mean().item())
        states.append(copy.deepcopy(model.state_dict()))
    return losses, accuracies, states
