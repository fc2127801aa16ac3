"""How many heads an axis is cut into when the usual 8 do not divide it."""

from daam_bench.errors import ConfigError

USUAL_HEADS = 8


def density_heads(layers: int, requested: int | None = None) -> int:
    """Return the number of heads that share the layer axis equally.

    Args:
        layers: number of layers N, at least 1.
        requested: a number that must divide N; None takes 8, or the largest divisor of N below 8, that
            leaves at least two layers a head (one layer has no variance); 1 if there is none.

    Raises:
        ConfigError: if `layers` is below 1 or `requested` does not divide it.
    """
    return _heads("layers", layers, requested, smallest_share=2)


def feature_heads(features: int, requested: int | None = None) -> int:
    """Return the number of heads that share the features equally.

    Args:
        features: number of features d, at least 1.
        requested: a number that must divide d; None takes 8, or the largest divisor of d below 8.

    Raises:
        ConfigError: if `features` is below 1 or `requested` does not divide it.
    """
    return _heads("features", features, requested, smallest_share=1)


def _heads(what: str, number: int, requested: int | None, smallest_share: int) -> int:
    if number < 1:
        raise ConfigError(f"{what} must be at least 1", expected=">= 1", found=number)
    if requested is not None:
        if requested < 1 or number % requested:
            raise ConfigError(
                f"the {what} cannot be shared equally by the heads",
                where="heads",
                expected=f"a divisor of {number}",
                found=requested,
                remedy="Leave the number of heads out to have it chosen.",
            )
        return requested
    fitting = (h for h in range(1, USUAL_HEADS + 1) if number % h == 0 and number // h >= smallest_share)
    return max(fitting, default=1)
