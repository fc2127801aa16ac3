"""Tables: one module each, with its frame, its caption, how a person reads it and what stands behind it.

A new table is one module here with a `TABLE`, and its name in `analysis.names.TABLES`.
"""

from daam_bench.analysis.tables.base import Results, Run, Table
from daam_bench.analysis.tables.write import find_table, make_tables, write_study_tables, write_tables

__all__ = ["Results", "Run", "Table", "find_table", "make_tables", "write_study_tables", "write_tables"]
