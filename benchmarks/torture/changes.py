"""Changes of what is computed, and cosmetic ones: dry runs show what Snakemake would compute again."""

import copy
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.torture.children import run_child
from benchmarks.torture.tally import Budget, Tally
from daam_bench import fingerprint
from daam_bench.config import PROTOCOLS
from daam_bench.training.names import BASELINES

ROOT = Path(__file__).parents[2]
VARIANTS = ["mha", "daam_v2", "mixture"]
_COMMIT = "0123456789abcdef0123456789abcdef01234567"
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
            "revision": _COMMIT,
            "modality": "vision",
            "folds": {"rule": "split_column"},
        },
    },
    "encoders": {
        "bert": {"modality": "text", "model": "own/bert", "max_length": 64},
        "whisper": {"modality": "speech", "model": "own/whisper"},
        "beit": {"modality": "vision", "model": "someone/beit", "revision": _COMMIT},
    },
    "experiments": [
        {"dataset": dataset, "encoder": encoder, "variants": VARIANTS, "seeds": [0, 1]}
        for dataset, encoder in PAIRS.items()
    ],
    "protocol": {"name": "corrected"},
    "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1.0e-3, "precision": "float32"},
}
Jobs = frozenset[str]
ENDS = frozenset({"write_tables", "write_study_tables", "write_figures", "write_report"})


def trained(*datasets: str, variants: Iterable[str] = (*BASELINES, *VARIANTS)) -> Jobs:
    """Return training on some datasets with all that follows."""
    return ENDS | {f"train_variant {d} {PAIRS[d]} {v}" for d in datasets for v in variants}


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
            file.write_text(
                re.sub(r"^    message:\n        .*\n", "", text, flags=re.MULTILINE), encoding="utf-8"
            )
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
        self._snakemake("--cores", "1", "--quiet")
        if planned := self.planned():
            raise RuntimeError(f"the base is not at rest: {sorted(planned)}")

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
Change = Callable[[Folder], None]
ALL = tuple(PAIRS)


def _set(place: str, value: Any) -> Change:
    return lambda folder: folder.set(place, value)


def _edit(file: str, old: str, new: str) -> Change:
    def change(folder: Folder) -> None:
        def replaced(text: str) -> str:
            if old not in text:
                raise RuntimeError(f"{file} has no {old!r}")
            return text.replace(old, new, 1)

        folder.edit(file, replaced)

    return change


def _append(file: str) -> Change:
    return lambda folder: folder.edit(file, lambda text: f"{text}\nCHANGED = 1\n")


def _new_file(name: str, text: str = "RIFF 3") -> Change:
    return lambda folder: folder.path.joinpath(name).write_text(text, encoding="utf-8") and None


def real_changes() -> dict[str, tuple[Change, Jobs]]:
    """Return changes of one field each, and exactly what depends on it."""
    found: dict[str, tuple[Change, Jobs]] = {
        "one byte of the weights": (_edit("own/bert/model.safetensors", "w", "v"), extracted("texts")),
        "a setting of the model": (_edit("own/whisper/config.json", "{}", '{"a": 1}'), extracted("sounds")),
        "a setting of the processor": (
            _edit("own/whisper/preprocessor_config.json", "{}", '{"do_normalize": false}'),
            extracted("sounds"),
        ),
        "the tokenizer": (_edit("own/bert/tokenizer.json", "{}", '{"a": 1}'), extracted("texts")),
        "a text": (_edit("own/texts.csv", "fine", "nice"), listed("texts")),
        "a label": (_edit("own/texts.csv", "awful,1", "awful,5"), listed("texts")),
        "order of samples": (
            _edit("own/texts.csv", "fine,5,a\nawful,1,b", "awful,1,b\nfine,5,a"),
            listed("texts"),
        ),
        "a sample more": (_new_file("own/sounds/low/3.wav"), listed("sounds")),
        "a sample's bytes": (_edit("own/sounds/low/1.wav", "1", "2"), listed("sounds")),
        "revision of an encoder": (_set("encoders.beit.revision", _COMMIT[::-1]), extracted("pictures")),
        "revision of a dataset": (_set("datasets.pictures.revision", _COMMIT[::-1]), listed("pictures")),
        "label map": (_set("datasets.texts.labels", {"1": "good", "5": "bad"}), listed("texts")),
        "column of the content": (_set("datasets.texts.columns.content", "title"), listed("texts")),
        "column of the groups": (_set("datasets.texts.columns.group", None), listed("texts")),
        "samples per group": (_set("datasets.texts.samples_per_group", 39), listed("texts")),
        "seed of the draw": (_set("datasets.texts.sampling_seed", 1), listed("texts")),
        "length of clips": (_set("datasets.sounds.clip_seconds", 4.0), listed("sounds")),
        "group pattern": (_set("datasets.sounds.group_pattern", r"^(\w)"), listed("sounds")),
        "use of splits": (
            _set("datasets.pictures.splits", {"train": "train", "dev": "validation"}),
            listed("pictures"),
        ),
        "subset": (_set("datasets.pictures.subset", "small"), listed("pictures")),
        "dtype of the forward pass": (_set("encoders.bert.dtype", "bfloat16"), extracted("texts")),
        "longest input": (_set("encoders.bert.max_length", 65), extracted("texts")),
        "tokens that are pooled": (_set("encoders.beit.tokens", "patches"), extracted("pictures")),
        "stored dtype": (_set("cache.dtype", "float16"), extracted(*ALL)),
        "format of the cache": (_set("cache.format", "hdf5"), extracted(*ALL)),
        "bad samples stop": (_set("cache.on_bad_sample", "stop"), extracted(*ALL)),
        "D10 short clips": (_set("protocol.short_clips", "zero_padded"), extracted("sounds")),
        "fold rule": (_set("datasets.texts.folds.rule", "stratified"), trained("texts") | leakage("texts")),
        "number of folds": (_set("datasets.sounds.folds.count", 4), trained("sounds") | leakage("sounds")),
        "seed of the folds": (_set("datasets.sounds.folds.seed", 2), trained("sounds") | leakage("sounds")),
        "leakage is accepted": (
            _set("datasets.texts.accept_leakage", True),
            trained("texts") | leakage("texts"),
        ),
        "seeds": (_set("experiments.0.seeds", [0, 2]), trained("texts", variants=VARIANTS)),
        "a variant less": (_set("experiments.0.variants", VARIANTS[:2]), ENDS),
        "a variant more": (
            _set("experiments.0.variants", [*VARIANTS, "daam_v1"]),
            trained("texts", variants=["daam_v1"]),
        ),
        "settings of one experiment": (
            _set("experiments.1.training", {"epochs": 3}),
            trained("sounds", variants=VARIANTS),
        ),
        "held-out part": (_set("training.inner_fraction", 0.2), trained(*ALL)),
        "code of a head": (_append("code/heads/mixture.py"), trained(*ALL)),
        "code of the loop": (_append("code/training/folds.py"), trained(*ALL)),
        "code of an encoder": (_append("code/encoders/pooling.py"), extracted(*ALL)),
        "code of a reader": (_append("code/datasets/table.py"), listed(*ALL)),
        "code of the tables": (_append("code/analysis/names.py"), ENDS),
    }
    settings = {
        "epochs": 3,
        "batch_size": 16,
        "learning_rate": 1.0e-4,
        "loss": "focal",
        "precision": "bfloat16",
        "decoder_channels": 8,
        "density_heads": 2,
        "lora_plus_ratio": 2.0,
        "focal_gamma": 2.0,
        "focal_alpha": 0.5,
    }
    for name, value in settings.items():
        found[f"training.{name}"] = (_set(f"training.{name}", value), trained(*ALL, variants=VARIANTS))
    for name, value in PROTOCOLS["corrected"].items():
        others = [p[name] for p in PROTOCOLS.values() if p[name] != value]
        if name != "short_clips" and (others or name == "gqdaam_heads"):
            other = others[0] if others else 1
            found[f"protocol.{name}"] = (_set(f"protocol.{name}", other), trained(*ALL, variants=VARIANTS))
    return found


def _touch(pattern: str, seconds: float) -> Change:
    def change(folder: Folder) -> None:
        for file in folder.path.glob(pattern):
            os.utime(file, (time.time() + seconds,) * 2)

    return change


def _reformat(folder: Folder) -> None:
    for file in folder.path.joinpath("code").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(f"# a comment\n{text}\n\n# another one\n", encoding="utf-8")


def _rewrite_docstrings(folder: Folder) -> None:
    for file in folder.path.joinpath("code").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace('"""Return ', '"""Give ', 1), encoding="utf-8")


def _written(change: Callable[[str], str]) -> Change:
    return lambda folder: folder.edit("config.yaml", change)


def _options(*options: str) -> Change:
    return lambda folder: folder.options.extend(options)


def _variables(**values: str) -> Change:
    return lambda folder: folder.environment.update(values)


def _turned(folder: Folder) -> None:
    folder.write(yaml.safe_dump(folder.config, sort_keys=True))


def cosmetic_changes() -> dict[str, tuple[Change, Jobs]]:
    """Return changes that must compute nothing; title and notes are said in the report, which is written."""
    nothing: Jobs = frozenset()
    return {
        "comment in the configuration": (_written(lambda text: f"# a comment\n{text}"), nothing),
        "comment behind a key": (
            _written(lambda text: text.replace("epochs: 2", "epochs: 2  # few")),
            nothing,
        ),
        "order of keys": (_turned, nothing),
        "quotes in the configuration": (
            _written(
                lambda text: text.replace("path: own/bert", "path: 'own/bert'").replace(
                    "kind: table", 'kind: "table"'
                )
            ),
            nothing,
        ),
        "blank lines": (_written(lambda text: text.replace("\n", "\n\n")), nothing),
        "how a number is written": (_written(lambda text: text.replace("0.001", "1.0e-3")), nothing),
        "a default said": (_set("training.focal_gamma", 2.5), nothing),
        "a switch said as its protocol has it": (_set("protocol.optimizer", "adam"), nothing),
        "a dataset that nothing uses": (
            _set("datasets.other", {"kind": "digits", "path": "nowhere"}),
            nothing,
        ),
        "an encoder that nothing uses": (
            _set("encoders.other", {"modality": "text", "model": "nowhere"}),
            nothing,
        ),
        "order of variants": (_set("experiments.0.variants", VARIANTS[::-1]), nothing),
        "touched texts": (_touch("own/texts.csv", 99), nothing),
        "touched samples": (_touch("own/sounds/*/*.wav", 99), nothing),
        "touched weights": (_touch("own/bert/*", 99), nothing),
        "clock of the data set back": (_touch("own/**/*", -1e7), nothing),
        "touched configuration": (_touch("config.yaml", 99), nothing),
        "touched code": (_touch("code/**/*.py", 99), nothing),
        "touched rules": (_touch("workflow/rules/*.smk", 99), nothing),
        "readme of the model": (_edit("own/bert/README.md", "about", "more about"), nothing),
        "hidden file among the samples": (_new_file("own/sounds/.DS_Store"), nothing),
        "comments in all code": (_reformat, nothing),
        "docstrings in all code": (_rewrite_docstrings, nothing),
        "comment in a rule": (_written_rule, nothing),
        "number of cores": (_options("--cores", "2"), nothing),
        "threads of a rule": (_options("--set-threads", "train_variant=2"), nothing),
        "resources of a rule": (_options("--set-resources", "train_variant:mem_mb=999"), nothing),
        "log level": (_options("--verbose"), nothing),
        "keep going, retries": (_options("--keep-going", "--retries", "2"), nothing),
        "device": (_variables(CUDA_VISIBLE_DEVICES="1"), nothing),
        "threads of the libraries": (_variables(OMP_NUM_THREADS="2"), nothing),
        "title": (_set("title", "Other"), frozenset({"write_report"})),
        "notes": (_set("notes", ["another note"]), frozenset({"write_report"})),
    }


def _written_rule(folder: Folder) -> None:
    folder.edit("workflow/rules/train.smk", lambda text: f"# a comment\n{text}")


def try_changes(folder: Path, changes: dict[str, tuple[Change, Jobs]], count: int, budget: Budget) -> Tally:
    """Make each change on the same base and compare the plan of a dry run with what depends on it."""
    tally = Tally()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    base = Folder(folder)
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    for name, (change, expected) in list(changes.items())[:count]:
        if not budget.left():
            break
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(kept, folder)
        base.config, base.options, base.environment = copy.deepcopy(BASE), [], {}
        change(base)
        planned = base.planned()
        lacking, needless = sorted(expected - planned), sorted(planned - expected)
        wrong = f"stale: {lacking}; needless: {needless}" if lacking or needless else None
        tally.note(name, wrong)
    return tally
