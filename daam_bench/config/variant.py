"""A user's own attention module, named in the user's own configuration."""

from pydantic import Field, JsonValue

from daam_bench.config.section import Section


class VariantConfig(Section):
    """An attention module in a file of one's own; its name is the key, beside the built-in variants.

    The file is Python and is executed when the variant is built: name only files that you trust. It is one
    file: it can import installed packages, but not its neighbours, so its text is all that it consists of.
    """

    module: str = Field(
        pattern=r"^.+\.py:[A-Za-z_][A-Za-z0-9_]*$",
        description="file.py:Name, relative to where snakemake runs; "
        "Name(layers, features, protocol, **options) gives an nn.Module from [batch, layer, feature] "
        "to [batch, layer, feature']",
    )
    has_density: bool = Field(False, description="whether its density(x) gives an importance map")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="keyword arguments of Name")
    description: str = Field("a module of one's own", description="one sentence, kept with every result")

    @property
    def file(self) -> str:
        """The file of `module`."""
        return self.module.rpartition(":")[0]
