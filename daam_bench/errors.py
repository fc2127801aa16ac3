"""Errors that say what happened, where, what was expected and found, and what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches


class DaamBenchError(Exception):
    """Base of every error that a user's input or files can cause.

    Args:
        what: one sentence with the fact.
        where: the file, config key or object concerned.
        expected: what would have been accepted.
        found: what was there instead.
        remedy: what the user can do next.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        self.expected, self.found = expected, found
        parts = [what if where is None else f"{where}: {what}"]
        if expected is not None:
            parts.append(f"expected {expected}")
        if found is not None:
            parts.append(f"found {found}")
        message = "; ".join(parts)
        super().__init__(message if remedy is None else f"{message}. {remedy}")


class ConfigError(DaamBenchError):
    """The configuration is not valid."""

    exit_code = 2


class DataError(DaamBenchError):
    """A dataset's files are missing or not what the dataset declares."""

    exit_code = 3


class EncoderError(DaamBenchError):
    """An encoder cannot be loaded or does not give usable hidden states."""

    exit_code = 4


class CacheError(DaamBenchError):
    """A cache is missing, damaged, incomplete, or belongs to something else."""

    exit_code = 5


class RecordError(DaamBenchError):
    """A result on disk is missing, damaged, or of another configuration."""

    exit_code = 6


class MachineError(DaamBenchError):
    """The machine refuses: a full disk, lost permissions, an I/O error."""

    exit_code = 7


def unknown_name(kind: str, name: str, valid: Iterable[str], where: object = None) -> ConfigError:
    """Return the error for a name that is not registered, with the nearest valid names."""
    known = sorted(valid)
    near = get_close_matches(name, known, n=3, cutoff=0.4)
    return ConfigError(
        f"unknown {kind} {name!r}",
        where=where,
        expected=f"one of {', '.join(known)}",
        remedy=f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else None,
    )
