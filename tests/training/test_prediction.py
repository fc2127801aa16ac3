import pytest
import torch

from daam_bench.config import TrainingConfig
from daam_bench.training import prediction


@pytest.mark.parametrize(
    ("precision", "able", "mixed"),
    [("bfloat16", True, True), ("bfloat16", False, False), ("float32", True, False)],
)
def test_mixed_precision_is_for_processors_that_have_it(monkeypatch, precision, able, mixed):
    monkeypatch.setattr(prediction, "has_bfloat16", lambda device: able)
    with prediction.autocast(torch.device("cpu"), TrainingConfig(precision=precision)):
        assert torch.is_autocast_enabled("cpu") == mixed
