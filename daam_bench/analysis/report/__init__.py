"""One HTML page with everything, readable from disk without a network."""

from daam_bench.analysis.report.grid import Section
from daam_bench.analysis.report.page import write_report

__all__ = ["Section", "write_report"]
