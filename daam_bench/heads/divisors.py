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
    _check_positive("layers", layers)
    if requested is not None:
        if requested < 1 or layers % requested:
            raise ConfigError(
                "the layers cannot be shared equally by the heads",
                where="heads",
                expected=f"a divisor of {layers}",
                found=requested,
                remedy="Leave the number of heads out to have it chosen.",
            )
        return requested
    return max((h for h in range(1, USUAL_HEADS + 1) if layers % h == 0 and layers // h >= 2), default=1)


def feature_heads(features: int) -> int:
    """Return 8 where it divides the features, otherwise their largest divisor below 8.

    Raises:
        ConfigError: if `features` is below 1.
    """
    _check_positive("features", features)
    return max(h for h in range(1, USUAL_HEADS + 1) if features % h == 0)


def _check_positive(what: str, number: int) -> None:
    if number < 1:
        raise ConfigError(f"{what} must be at least 1", expected=">= 1", found=number)
