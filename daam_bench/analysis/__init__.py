"""From run records to tables, figures and the report."""
