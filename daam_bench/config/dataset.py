"""Datasets: where they lie, how they are read and dealt to folds."""

from typing import Literal

from pydantic import Field

from daam_bench.config.section import MOST, REVISION, AsText, Name, Section, Seed
from daam_bench.config.training import Loss, Metric

Modality = Literal["text", "speech", "vision"]


class FoldRule(Section):
    """How samples are dealt to folds; fold i validates on part i and trains on the rest."""

    rule: Literal["leave_one_group_out", "split_column", "stratified", "stratified_by_group"] = Field(
        "leave_one_group_out",
        description="leave_one_group_out: one fold per group; split_column: the dataset's own train and "
        "validation splits; stratified: k folds with equal class shares, samples of equal content together; "
        "stratified_by_group: the same with whole groups",
    )
    count: int = Field(5, ge=2, le=MOST, description="number of folds of the stratified rules")
    seed: Seed = Field(0, description="seed of the stratified rules")


class Columns(Section):
    """Which columns of a table, or of a Hugging Face dataset, hold what."""

    content: str | list[str] | None = Field(
        None,
        description="the text (several columns are joined by a space), or the image or audio, or the path of "
        "its file; by default text, image or audio, after the modality",
    )
    label: str = "label"
    group: str | None = Field(None, description="session, speaker, source; by default none")
    split: str | None = Field(None, description="split of a table; by default none")
    sample_id: str | None = Field(None, description="unique name of a sample; by default its row number")


class DatasetConfig(Section):
    """A dataset by name: its kind says how it is read, its path where it lies.

    The keys from `modality` to `files` are read by the kinds that declare nothing of their own
    (table, class_folders, huggingface); any other kind refuses them.
    """

    kind: Name = Field(description="how the files are laid out; `daam-bench datasets` lists the kinds")
    path: str = Field(description="folder or file, relative to where snakemake runs, or a hub id")
    revision: str | None = Field(
        None, pattern=REVISION, description="commit of a hub id; with it, path is looked up on the hub"
    )
    modality: Modality | None = None
    subset: str | None = Field(None, description="huggingface: name of the dataset's configuration")
    columns: Columns | None = None
    labels: dict[AsText, str] | None = Field(
        None,
        description="class name by label as the files have it; several labels may share a class, samples of "
        "labels that are not listed are left out. By default every label is a class, in sorted order",
    )
    splits: dict[str, Literal["train", "validation"]] | None = Field(
        None, description="what the splits of the files are used for; splits that are not listed are left out"
    )
    label_pattern: str | None = Field(
        None,
        description="class_folders: where no folder is a class, a regular expression on a file's path (below "
        "its split); its first bracket is the label",
    )
    group_pattern: str | None = Field(
        None,
        description="class_folders: regular expression on a file's path below its class; its first bracket "
        "is the group",
    )
    encoding: str | None = Field(
        None, description="table: how a CSV or TSV file is encoded, such as cp1252; by default UTF-8"
    )
    files: str | None = Field(
        None,
        min_length=1,
        description="table of images or audio: folder that the paths in its content column are relative to, "
        "itself relative to the table's folder, such as ../audio; {column} stands for a row's value, as in "
        "../audio/fold{fold} or images/{content}.jpg. By default the table's folder",
    )
    clip_seconds: float | None = Field(
        None,
        ge=0.025,
        le=86_400,
        description="speech: cut recordings into clips of this length, the remainder is a clip of its own",
    )
    accept_leakage: bool = Field(
        False, description="go on although samples of equal content, or of one group, are in two splits"
    )
    folds: FoldRule = FoldRule()
    metric: Metric | None = Field(
        None, description="what its results are scored by; by default training.metric"
    )
    loss: Loss | None = Field(None, description="by default training.loss")
    samples_per_group: int | None = Field(
        None,
        ge=1,
        lt=2**32,
        description="keep only this many samples of each group, drawn with class shares kept",
    )
    sampling_seed: Seed = Field(0, description="seed of that draw")
