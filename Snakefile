# The contents page. `snakemake -n` shows the plan; `snakemake tables figures report` makes everything.
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from daam_bench.config.plain import read_plain
from daam_bench.errors import ConfigError

min_version("9.0")

# Snakemake evaluates Python in a configuration that asks for it; ours is plain data, and read as such first.
try:
    if Path("config.yaml").exists():
        read_plain(Path("config.yaml"))
except ConfigError as error:
    raise WorkflowError(str(error)) from None


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/embed.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tuning.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.tables.input,
        rules.figures.input,
        rules.report.input,
