"""Which GRU of several is meant."""

from collections.abc import Iterable, Sequence

from gru_jax.interop.contents import list_names, shorten


def choose(
    function: str,
    places: Sequence[str],
    name: str | None,
    among: Iterable[object],
    *,
    separator: str,
) -> str:
    """Returns the only place, or the one that is called `name` or ends in it.

    Args:
        function: the name to blame in an error.
        places: paths of GRUs, e.g. `"model.encoder.gru"`; "" is the whole.
        name: e.g. `"encoder.gru"`; None is the only one there is.
        among: names of everything, for the error if there is no GRU.
        separator: of the paths.

    Raises:
        ValueError: if there is no such GRU, or several are.
    """
    if not places:
        raise ValueError(f"{function}: there must be a GRU, got {list_names(among)}.")
    fit = list(places) if name is None else [place for place in places if place == name]
    fit = fit or [place for place in places if place.endswith(f"{separator}{name}")]
    if len(fit) != 1:
        known = shorten(" or ".join(repr(place or None) for place in places), 200)
        raise ValueError(f"{function}: name must be {known}, got {name!r}.")
    return fit[0]
