"""What the tests of safety share."""

from torture.listening import audited

__all__ = ["audited"]  # a fixture
