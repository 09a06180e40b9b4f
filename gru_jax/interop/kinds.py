"""The kinds of cells that other frameworks have, too.

Each framework has a table of the orders in which it holds the gates of each kind, in gru_jax's
letters: `{GRU: "rzc", LSTM: "ifgo"}`.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from gru_jax.cells.gru_params import GRUParams
from gru_jax.cells.lstm import LSTMParams


class Kind(NamedTuple):
    """A kind of cell.

    Attributes:
        name: in every other framework.
        params: the type of its parameters.
        gates: the letters of its gates.
    """

    name: str
    params: type[GRUParams] | type[LSTMParams]
    gates: frozenset[str]


GRU = Kind("GRU", GRUParams, frozenset("rzc"))
LSTM = Kind("LSTM", LSTMParams, frozenset("ifgo"))
KINDS = {"gru": GRU, "lstm": LSTM}
"""All kinds, by gru_jax's builders."""

ANY_KIND = "a GRU or an LSTM"

CellParams: TypeAlias = GRUParams | LSTMParams
Orders: TypeAlias = Mapping[Kind, str]
