"""A working folder with all its results: what a dry run there would compute again, and what it should."""

import copy
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.torture.children import run_child
from daam_bench import fingerprint
from daam_bench.training.names import BASELINES

ROOT = Path(__file__).parents[2]
VARIANTS = ["mha", "daam_v2", "mixture"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PAIRS = {"texts": "bert", "sounds": "whisper", "pictures": "beit"}
BASE: dict[str, Any] = {
    "title": "Base",
    "notes": ["a note"],
    "datasets": {
        "texts": {
            "kind": "table",
            "path": "own/texts.csv",
            "modality": "text",
            "columns": {"content": "text", "label": "stars", "group": "source"},
            "labels": {"1": "bad", "5": "good"},
            "samples_per_group": 40,
            "folds": {"rule": "leave_one_group_out"},
        },
        "sounds": {
            "kind": "class_folders",
            "path": "own/sounds",
            "modality": "speech",
            "clip_seconds": 5.0,
            "folds": {"rule": "stratified", "count": 3, "seed": 1},
        },
        "pictures": {
            "kind": "huggingface",
            "path": "someone/pictures",
            "revision": COMMIT,
            "modality": "vision",
            "folds": {"rule": "split_column"},
        },
    },
    "encoders": {
        "bert": {"modality": "text", "model": "own/bert", "max_length": 64},
        "whisper": {"modality": "speech", "model": "own/whisper"},
        "beit": {"modality": "vision", "model": "someone/beit", "revision": COMMIT},
    },
    "experiments": [
        {"dataset": dataset, "encoder": encoder, "variants": VARIANTS, "seeds": [0, 1]}
        for dataset, encoder in PAIRS.items()
    ],
    "studies": [
        {
            "kind": "layer_ablation",
            "dataset": "texts",
            "encoder": "bert",
            "variants": ["daam_v2"],
            "sizes": [1],
        }
    ],
    "protocol": {"name": "corrected"},
    "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1.0e-3, "precision": "float32"},
}
ALL = tuple(PAIRS)
Jobs = frozenset[str]
STUDY_ENDS = frozenset({"write_study_tables", "write_study_figures", "write_report"})
ENDS = STUDY_ENDS | {"write_tables", "write_figures"}
CHOSEN = STUDY_ENDS | {f"{rule} texts bert daam_v2" for rule in ("choose_layers", "train_on_layers")}


def trained(*datasets: str, variants: Iterable[str] = (*BASELINES, *VARIANTS)) -> Jobs:
    """Return training on some datasets with all that follows, the choice of layers on texts among it."""
    jobs = ENDS | {f"train_variant {d} {PAIRS[d]} {v}" for d in datasets for v in variants}
    return jobs | CHOSEN if "texts" in datasets and "daam_v2" in variants else jobs


def extracted(*datasets: str) -> Jobs:
    """Return extraction of some datasets with all that follows."""
    jobs = {f"{rule} {d} {PAIRS[d]}" for d in datasets for rule in ("extract_part", "extract_embeddings")}
    return trained(*datasets) | jobs


def listed(*datasets: str) -> Jobs:
    """Return listing the samples of some datasets with all that follows."""
    return extracted(*datasets) | {
        f"{rule} {d}" for d in datasets for rule in ("list_samples", "check_leakage")
    }


def leakage(*datasets: str) -> Jobs:
    """Return the check for leakage alone."""
    return frozenset(f"check_leakage {d}" for d in datasets)


class Folder:
    """A working folder whose results are all there, made by commands that only touch their outputs.

    Args:
        path: an empty folder.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.config = path, copy.deepcopy(BASE)
        self.options: list[str] = []
        self.environment: dict[str, str] = {}
        shutil.copy(ROOT / "Snakefile", path)
        shutil.copytree(ROOT / "workflow", path / "workflow")
        shutil.copytree(ROOT / "daam_bench", path / "code", ignore=shutil.ignore_patterns("__pycache__"))
        for file in path.joinpath("workflow", "rules").glob("*.smk"):
            text = file.read_text(encoding="utf-8")  # a rule with a message does not print its name
            file.write_text(re.sub(r"^ +message:\n.*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
        self._write_data()
        self.write()
        self._run_once()

    def _write_data(self) -> None:
        for name, text in {
            "config.yaml": "{}\n",
            "own/texts.csv": "text,stars,source\nfine,5,a\nawful,1,b\n",
            "own/bert/config.json": "{}",
            "own/bert/model.safetensors": "weights",
            "own/bert/tokenizer.json": "{}",
            "own/bert/README.md": "about",
            "own/whisper/config.json": "{}",
            "own/whisper/model.safetensors": "weights",
            "own/whisper/preprocessor_config.json": "{}",
            "own/sounds/low/1.wav": "RIFF 1",
            "own/sounds/high/2.wav": "RIFF 2",
        }.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    def write(self, text: str | None = None) -> None:
        """Write the configuration."""
        given = yaml.safe_dump(self.config, sort_keys=False) if text is None else text
        (self.path / "config.yaml").write_text(given, encoding="utf-8")

    def _run_once(self) -> None:
        """Make every output by commands that touch it, so that Snakemake remembers all parameters."""
        program = self.path / "bin" / "daam-bench"
        program.parent.mkdir()
        outputs = self._snakemake("--summary").splitlines()
        names = [line.split("\t")[0] for line in outputs if line.startswith("results/")]
        (self.path / "outputs").write_text("\n".join(names) + "\n", encoding="utf-8")
        program.write_text(_STAND_IN, encoding="utf-8")
        program.chmod(0o755)
        self.run()
        if planned := self.planned():
            raise RuntimeError(f"the base is not at rest: {sorted(planned)}")

    def run(self, *options: str) -> None:
        """Make what is wanted, by commands that only touch."""
        self._snakemake(*options, "--cores", "1", "--quiet")

    def _snakemake(self, *options: str) -> str:
        def work() -> None:
            from snakemake.cli import main

            logging.disable(logging.NOTSET)  # it prints its plan by logging
            os.chdir(self.path)
            os.environ |= self.environment
            sys.executable = str(self.path / "bin" / "python")  # jobs find commands beside it
            fingerprint._PACKAGE = self.path / "code"
            main([*options, *self.options])

        ended = run_child(work)
        if ended.code:
            raise RuntimeError(ended.text[-2000:])
        return ended.text

    def planned(self) -> Jobs:
        """Return the jobs of a dry run: rule, dataset, encoder, variant."""
        jobs = set()
        text = self._snakemake("-n", "--cores", "1")
        if "Job stats" not in text and "Nothing to be done" not in text:
            raise RuntimeError(f"no plan: {text}")
        for block in re.split(r"^(?=(?:local)?rule )", text, flags=re.MULTILINE):
            rule = re.match(r"(?:local)?rule (\w+):", block)
            if rule is None or rule[1] == "all":
                continue
            found = re.search(r"^    wildcards: (.*)$", block, re.MULTILINE)
            values = dict(part.split("=") for part in found[1].split(", ")) if found else {}
            wanted = [values[key] for key in ("dataset", "encoder", "variant") if key in values]
            jobs.add(" ".join([rule[1], *wanted]))
        return frozenset(jobs)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        """Change a file of this folder."""
        path = self.path / file
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    def set(self, place: str, value: Any) -> None:
        """Set one field of the configuration, for example `training.epochs`."""
        *way, last = place.split(".")
        holder: Any = self.config
        for key in way:
            holder = holder[int(key)] if isinstance(holder, list) else holder.setdefault(key, {})
        holder[last] = value
        self.write()


# The outputs of a rule lie in one folder, or are the last argument before an option.
_STAND_IN = """#!/bin/sh
case "$2" in
write-tables | write-study-tables) grep ^results/tables/ outputs | tr '\\n' '\\0' | xargs -0 touch ;;
write-figures | write-study-figures) grep ^results/figures/ outputs | tr '\\n' '\\0' | xargs -0 touch ;;
write-report) touch "$3" ;;
finish-cache) while [ "$1" != --manifest ]; do shift; done; touch "$2" ;;
*) touch "$4" ;;
esac
"""
