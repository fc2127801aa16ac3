"""Modules compiled to machine code, and exported for lengths that were not seen."""

import os
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from daam_bench.heads import (
    DensityAdaptiveAttention,
    GroupedQueryAttention,
    LayerSelfAttention,
    MixtureOfDensities,
    MultiHeadDensityAdaptiveAttention,
    SelectedMixtureOfDensities,
)

COMPILER = os.environ.get("CXX", "g++")
HEADERS = Path(sysconfig.get_path("include")) / "Python.h"
WIDTH = 12
ANY_LENGTH = {
    "one head": DensityAdaptiveAttention(WIDTH),
    "published": DensityAdaptiveAttention(WIDTH, sign="free"),
    "one of the heads": MultiHeadDensityAdaptiveAttention(5, WIDTH, 1),
    "mixture": MixtureOfDensities(5, WIDTH, 1),
    "mixture, published": MixtureOfDensities(5, WIDTH, 1, normalisation="clamped"),
    "mixture, learnt size": SelectedMixtureOfDensities(5, WIDTH, 1),
    "self-attention": LayerSelfAttention(None, WIDTH),
    "grouped queries": GroupedQueryAttention(WIDTH, 6, 2, "summed"),
}


class Stack(nn.Module):
    """The modules whose own mathematics is compiled; in the others the library's products do the work."""

    def __init__(self) -> None:
        super().__init__()
        self.density = MultiHeadDensityAdaptiveAttention(6, WIDTH, 3, sign="free")
        self.mixture = MixtureOfDensities(6, WIDTH, 2, normalisation="clamped")

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        attended: Tensor = self.mixture(self.density(x, mask), mask)
        return attended


@pytest.mark.skipif(not shutil.which(COMPILER), reason=f"no C++ compiler ({COMPILER}) to compile with")
@pytest.mark.skipif(not HEADERS.is_file(), reason="no headers of Python to compile with")
@pytest.mark.filterwarnings("ignore:.torch.jit.script")  # the compiler imports such
@pytest.mark.usefixtures("unchecked")
def test_machine_code_gives_values_and_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    torch.compiler.reset()
    stack, x = Stack(), torch.randn(5, 6, WIDTH)
    mask = torch.arange(6) < torch.tensor([6, 5, 3, 1, 0]).unsqueeze(1)
    results = []
    with torch._inductor.config.patch(compile_threads=1):
        for run in (stack, torch.compile(stack, fullgraph=True)):
            stack.zero_grad()
            output = run(x, mask)
            output.square().sum().backward()
            results.append([output.detach(), *(p.grad for p in stack.parameters())])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("name", ANY_LENGTH)
def test_an_exported_module_takes_any_batch_and_any_length(name: str, masked: bool) -> None:
    module = ANY_LENGTH[name].eval()

    def inputs(batch: int, length: int) -> tuple[Tensor, ...]:
        x, mask = torch.randn(batch, length, WIDTH), torch.rand(batch, length) < 0.7
        return (x, mask) if masked else (x,)

    batch, time = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("time", min=1, max=4096)
    dynamic = ({0: batch, 1: time},) * (1 + masked)
    exported = torch.export.export(module, inputs(3, 5), dynamic_shapes=dynamic).module()
    for size in ((2, 11), (7, 2), (4, 1)):
        given = inputs(*size)
        torch.testing.assert_close(exported(*given), module(*given), rtol=1e-4, atol=1e-5)
