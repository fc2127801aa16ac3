"""Caches whose figures would have the same names."""

import pytest

from daam_bench.config import parse_config
from daam_bench.errors import ConfigError
from daam_bench.plan import make_plan


def test_two_caches_with_figures_of_one_name_are_refused():
    table = {"kind": "table", "modality": "text", "path": "t.csv"}
    model = {"modality": "text", "model": "m"}
    data = {
        "datasets": {"news": table, "news_en": table},
        "encoders": {"en_mini": model, "mini": model},
        "experiments": [
            {"dataset": "news", "encoder": "en_mini"},
            {"dataset": "news", "encoder": "mini"},
            {"dataset": "news_en", "encoder": "mini"},
        ],
    }
    with pytest.raises(ConfigError, match=r"news_en x mini.*same names.*found news x en_mini.*Rename"):
        make_plan(parse_config(data))
    data["experiments"].pop()
    assert len(make_plan(parse_config(data)).caches) == 2
