"""Replicas that take their steps at once: what lets many small models fill a GPU.

Parameters of equal name lie side by side in one tensor, [replica, ...]; each replica's own parameters are
views into it, so that its optimiser, checkpoint and evaluation find them where they always are.
`torch.func.vmap` maps the model over that axis: one kernel serves all replicas.
"""

import logging
from collections.abc import Sequence
from itertools import chain, zip_longest
from time import perf_counter, process_time

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from daam_bench.heads.convolution import unfolded_pair
from daam_bench.heads.decoder import ConvolutionalDecoder
from daam_bench.heads.model import AttentionClassifier
from daam_bench.training.folds import Rows
from daam_bench.training.losses import loss_of
from daam_bench.training.optimization import join_optimizers
from daam_bench.training.prediction import autocast
from daam_bench.training.replica import Replica
from daam_bench.training.source import Buffer, Source

_log = logging.getLogger(__name__)
_Placed = tuple[int, Rows, Tensor | None]  # place of the replica, and its batch


def batch_replicas(replicas: Sequence[Replica], source: Source) -> "BatchedReplicas | None":
    """Return replicas as ones that step at once; None if their model cannot be mapped over parameters.

    That is so for a model that draws random numbers (a replica's would depend on its company), or whose
    Python code asks for values of tensors.
    """
    batched = BatchedReplicas(replicas)
    classifiers = [each.model for each in replicas if isinstance(each.model, AttentionClassifier)]
    decoders = [each.decoder for each in classifiers if isinstance(each.decoder, ConvolutionalDecoder)]
    pairs = [decoder.training_pair for decoder in decoders]
    for decoder in decoders:
        decoder.training_pair = unfolded_pair
    try:
        batched.probe(source)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        _log.warning("replicas of this model train one after another: torch.func.vmap says: %s", reason)
        for decoder, pair in zip(decoders, pairs, strict=True):
            decoder.training_pair = pair
        return None
    return batched


class BatchedReplicas:
    """Replicas of one variant, whose parameters move into stacks.

    Args:
        replicas: of models of equal shapes, one training configuration and one protocol.
    """

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = list(replicas)
        self._first = replicas[0]
        self._parameters = _stack([dict(replica.model.named_parameters()) for replica in replicas])
        self._buffers = _stack([dict(replica.model.named_buffers()) for replica in replicas])
        self._most = len(replicas)  # that fit into the memory of the device together

    def probe(self, source: Source) -> None:
        """Take one forward pass that changes nothing.

        Raises:
            RuntimeError: if the model cannot be mapped over its parameters.
        """
        rows = self._first.split.fitted[:2]
        buffer = next(iter(source.subset(rows)))
        active: list[_Placed] = [(place, rows, None) for place in range(len(self._replicas))]
        labels = self._first.labels[torch.from_numpy(rows)].expand(len(active), -1)
        with torch.no_grad():
            self._losses(range(len(active)), self._values(active, buffer), labels)

    def train_on(self, buffer: Buffer, epoch: int, behind: Sequence[Replica]) -> None:
        """Take the steps of all full batches up to the end of a buffer, of the replicas that are behind."""
        places = [place for place, replica in enumerate(self._replicas) if replica in behind]
        optimizer = join_optimizers(
            [self._replicas[place].optimizer for place in places], self._first.protocol
        )
        batches = (self._replicas[place].batches(buffer, epoch) for place in places)
        for found in zip_longest(*batches):
            active = [
                (place, *batch) for place, batch in zip(places, found, strict=True) if batch is not None
            ]
            start = perf_counter(), process_time()
            self._step(active, buffer)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            for place, *_ in active:
                replica = self._replicas[place]
                replica.wall_seconds += (perf_counter() - start[0]) / len(active)
                replica.cpu_seconds += (process_time() - start[1]) / len(active)
        for place in places:
            own = self._replicas[place].optimizer
            for parameter in chain.from_iterable(group["params"] for group in own.param_groups):
                if parameter in optimizer.state:
                    own.state[parameter] = optimizer.state[parameter]

    def _step(self, active: list[_Placed], buffer: Buffer) -> None:
        """Give the parameters of some replicas their gradients, of as many at once as memory allows."""
        done = 0
        while done < len(active):
            some = active[done : done + self._most]
            try:
                self._differentiate(some, buffer)
            except torch.OutOfMemoryError:
                if len(some) == 1:
                    raise
                self._most = len(some) // 2
                _log.warning("memory of the device: %d replicas at once from now on", self._most)
                continue
            done += len(some)

    def _differentiate(self, active: list[_Placed], buffer: Buffer) -> None:
        places = [place for place, *_ in active]
        values = self._values(active, buffer)
        rows = torch.from_numpy(np.stack([rows for _, rows, _ in active]))
        labels = self._first.labels[rows]
        for replica in self._replicas:
            replica.model.train()
        parameters, buffers, losses = self._losses(places, values, labels)
        torch.autograd.backward(losses.sum())
        # Only now: a pass that ran out of memory is taken again, from the statistics that it began with.
        for name, stack in self._buffers.items():
            stack[self._among(places)] = buffers[name]
        gradients = {name: p.grad.unbind() for name, p in parameters.items() if p.grad is not None}
        for index, place in enumerate(places):
            replica = self._replicas[place]
            for name, parameter in replica.model.named_parameters():
                if name in gradients:
                    parameter.grad = gradients[name][index]
            penalty = replica.model.penalty(len(replica.split.fitted))
            if penalty is not None:
                torch.autograd.backward(penalty)
            replica.note_loss(losses[index].detach(), rows.shape[1])

    def _losses(
        self,
        places: Sequence[int],
        values: Float[Tensor, "replica batch layer feature"],
        labels: Int[Tensor, "replica batch"],
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Float[Tensor, " replica"]]:
        """Return the parameters that were used, as leaves, the buffers after it, each replica's loss."""
        some = self._among(places)
        trained = dict(self._first.model.named_parameters())
        parameters = {
            name: stack[some].detach().requires_grad_(trained[name].requires_grad)
            for name, stack in self._parameters.items()
        }
        buffers = {name: stack[some].clone() for name, stack in self._buffers.items()}
        training, model = self._first.training, self._first.model

        def loss(state: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return loss_of(functional_call(model, state, (x,)), y, training)

        # Not every kernel of attention can be mapped, and over a few layers it is a small product.
        with autocast(values.device, training), sdpa_kernel(SDPBackend.MATH):
            losses: Tensor = vmap(loss)({**parameters, **buffers}, values, labels)
        return parameters, buffers, losses

    @staticmethod
    def _among(places: Sequence[int]) -> slice | list[int]:
        """Return ascending places as an index of stacks; of neighbours it gives a view."""
        neighbours = len(places) == places[-1] + 1 - places[0]
        return slice(places[0], places[-1] + 1) if neighbours else list(places)

    def _values(self, active: list[_Placed], buffer: Buffer) -> Tensor:
        """Return [replica, batch, layer, feature]: read at once where all rows lie in the buffer."""
        replicas = [self._replicas[place] for place, *_ in active]
        if all(values is None for *_, values in active) and all(r.layers is None for r in replicas):
            rows = np.concatenate([rows for _, rows, _ in active])
            return torch.unflatten(buffer.take(rows), 0, (len(active), -1))
        return torch.stack(
            [
                buffer.take(rows, replica.layers) if values is None else values
                for replica, (_, rows, values) in zip(replicas, active, strict=True)
            ]
        )


def _stack(tensors: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return tensors of equal names side by side, [replica, ...], and make them views of that."""
    stacks = {}
    for name, first in tensors[0].items():
        strides = (first.numel(), *first.stride())
        stack = first.new_empty_strided((len(tensors), *first.shape), strides)
        for part, each in zip(stack.detach().unbind(), tensors, strict=True):
            part.copy_(each[name].detach())
            each[name].data = part
        stacks[name] = stack
    return stacks
