"""Folders in which the workflow runs."""

import shutil

import pytest
from workflow.whole import prepare


@pytest.fixture
def folder(tmp_path, real_resources):
    """Return a working folder with the workflow's configuration and the fetched files."""
    return prepare(tmp_path, real_resources)


@pytest.fixture
def copied(whole_run, tmp_path):
    """Return a copy of the whole run that may be changed."""
    return shutil.copytree(whole_run, tmp_path / "copy", symlinks=True)
