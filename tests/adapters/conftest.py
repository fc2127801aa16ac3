"""Encoders to adapt."""

from encoders.conftest import model_folder

__all__ = ["model_folder"]  # a fixture
