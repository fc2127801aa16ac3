"""Changes of what is computed, and cosmetic ones: dry runs show what Snakemake would compute again."""

import copy
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.torture.folder import (
    ALL,
    BASE,
    CHOSEN,
    COMMIT,
    ENDS,
    VARIANTS,
    Folder,
    Jobs,
    extracted,
    leakage,
    listed,
    trained,
)
from benchmarks.torture.tally import Budget, Tally
from daam_bench.config import PROTOCOLS, TrainingConfig
from daam_bench.studies.switches import SWITCHES

Change = Callable[[Folder], None]


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


def _listed_under_a_late_clock(folder: Folder) -> None:
    """Change a text and list the samples; the clock was set back by then, and the run ended."""
    folder.edit("own/texts.csv", lambda text: text.replace("fine", "nice"))
    folder.run("results/samples/texts.parquet")
    for file in folder.path.glob("results/samples/texts.parquet"):
        os.utime(file, (1e9, 1e9))


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
        "a text, listed before the clock was set back": (
            _listed_under_a_late_clock,
            extracted("texts") | leakage("texts"),
        ),
        "a label": (_edit("own/texts.csv", "awful,1", "awful,5"), listed("texts")),
        "order of samples": (
            _edit("own/texts.csv", "fine,5,a\nawful,1,b", "awful,1,b\nfine,5,a"),
            listed("texts"),
        ),
        "a sample more": (_new_file("own/sounds/low/3.wav"), listed("sounds")),
        "a sample's bytes": (_edit("own/sounds/low/1.wav", "1", "2"), listed("sounds")),
        "revision of an encoder": (_set("encoders.beit.revision", COMMIT[::-1]), extracted("pictures")),
        "revision of a dataset": (_set("datasets.pictures.revision", COMMIT[::-1]), listed("pictures")),
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
        "choice of layers": (_set("studies.0.sizes", [2]), CHOSEN),
        "draws of random layers": (_set("studies.0.random_draws", 2), CHOSEN),
        "code of the choice of layers": (_append("code/analysis/layer_choice.py"), CHOSEN | ENDS),
        "code of a head": (_append("code/heads/mixture.py"), trained(*ALL)),
        "code of the loop": (_append("code/training/replica.py"), trained(*ALL)),
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
    # The others have no use for it: not one job of theirs.
    touched = {"density_heads": ["mixture"], "lora_plus_ratio": [], "focal_gamma": [], "focal_alpha": []}
    for name, value in settings.items():
        variants = touched.get(name, VARIANTS)
        jobs = trained(*ALL, variants=variants) if variants else frozenset()
        found[f"training.{name}"] = (_set(f"training.{name}", value), jobs)
    for name, value in PROTOCOLS["corrected"].items():
        others = [p[name] for p in PROTOCOLS.values() if p[name] != value]
        if name != "short_clips" and others:
            # "by_dataset" is the usual number on these.
            other = 1 if name == "gqdaam_heads" else others[0]
            touches = SWITCHES[name].touches
            variants = [v for v in VARIANTS if touches(v, TrainingConfig(epochs=BASE["training"]["epochs"]))]
            jobs = trained(*ALL, variants=variants) if variants else frozenset()
            found[f"protocol.{name}"] = (_set(f"protocol.{name}", other), jobs)
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
        "size of chunks": (_set("cache.chunk_mebibytes", 32.0), nothing),
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


def try_changes(
    folder: Path, changes: dict[str, tuple[Change, Jobs]], count: int, seed: int, budget: Budget
) -> Tally:
    """Make each change on the same base and compare the plan of a dry run with what depends on it.

    Fewer than all are drawn by the seed.
    """
    tally = Tally()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    base = Folder(folder)
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.rmtree(kept, ignore_errors=True)
    folder.rename(kept)
    drawn = random.Random(seed).sample(list(changes.items()), min(count, len(changes)))
    for name, (change, expected) in drawn:
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
