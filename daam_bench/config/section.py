"""What every section of the configuration shares."""

from types import NoneType
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from daam_bench import records

Name = records.Name
# What NumPy and scikit-learn take.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _each_once(seeds: list[int]) -> list[int]:
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        raise ValueError(f"a seed is listed twice: {', '.join(map(str, twice))}")
    return seeds


# One result a seed: a second one would be counted as another run.
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=10_000), AfterValidator(_each_once)]
# Beyond any use; what is larger would end in a job, with no word of the configuration.
MOST = 2**20
# YAML reads a label such as 1 as a number.
AsText = Annotated[str, BeforeValidator(str)]
# A branch or tag moves; a commit does not.
REVISION = r"^[0-9a-f]{40}$"


class Section(BaseModel):
    """A part of the configuration; unknown keys, and numbers that are not finite, are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_truth_for_numbers(cls, data: Any) -> Any:
        """Refuse true where a number is meant, which pydantic takes for 1."""
        for name, value in data.items() if isinstance(data, dict) else ():
            field = cls.model_fields.get(name) if isinstance(name, str) else None
            if isinstance(value, bool) and field is not None and _is_number(field.annotation):
                raise ValueError(f"{name} is a number, and not {str(value).lower()}")
        return data


def _is_number(annotation: object) -> bool:
    kinds = set(get_args(annotation) or [annotation]) - {NoneType}
    return kinds <= {int, float}
