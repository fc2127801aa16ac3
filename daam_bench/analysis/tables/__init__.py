"""Tables: one module each, with its frame, its caption and how a person reads it.

A new table is one module here with a `TABLE`, and its name in `analysis.names.TABLES`.
"""

from daam_bench.analysis.tables.base import Results, Table
from daam_bench.analysis.tables.write import find_table, make_tables, write_table, write_tables

__all__ = ["Results", "Table", "find_table", "make_tables", "write_table", "write_tables"]
