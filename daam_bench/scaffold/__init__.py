"""First versions of a user's own files: a dataset's block of YAML, an attention module with its test."""
