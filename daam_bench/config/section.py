"""What every section of the configuration shares."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=64)]
# YAML reads a label such as 1 as a number.
AsText = Annotated[str, BeforeValidator(str)]
# A branch or tag moves; a commit does not.
REVISION = r"^[0-9a-f]{40}$"


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
