"""Which GRU or LSTM of several is meant."""

from collections.abc import Iterable, Sequence

from gru_jax.interop.contents import list_names, shorten
from gru_jax.interop.kinds import ANY_KIND


def choose(
    function: str,
    places: Sequence[str],
    name: str | None,
    among: Iterable[object],
    separator: str,
    needed: str = ANY_KIND,
) -> str:
    """Returns the only place, or the one that is called `name` or ends in it.

    A place is a path to one, e.g. `"model.encoder.gru"`; "" is the whole. The error blames
    `function` and, without places, names the `needed` thing and lists the names in `among`.

    Raises:
        ValueError: unless exactly one place fits.
    """
    if not places:
        raise ValueError(f"{function}: there must be {needed}, got {list_names(among)}.")
    fit = list(places) if name is None else [place for place in places if place == name]
    fit = fit or [place for place in places if place.endswith(f"{separator}{name}")]
    if len(fit) != 1:
        known = shorten(" or ".join(repr(place or None) for place in places), 200)
        raise ValueError(f"{function}: name must be {known}, got {name!r}.")
    return fit[0]
