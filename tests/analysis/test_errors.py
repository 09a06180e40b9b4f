"""Wrong arguments of what looks at a trace or a gradient are one clear message."""

import jax
import pytest
from error_cases import CELL, PARAMS, XS
from refusals import refused

import gru_jax as gj

CASES = {
    "saturation: margin must be 0 < margin < 0.5, got 0.5.": lambda: gj.saturation(
        gj.trace(CELL, PARAMS, XS), margin=0.5
    ),
    "timescales: trace must have an update gate z, got None.": lambda: gj.timescales(
        gj.trace(CELL, PARAMS, XS)._replace(gates=None)
    ),
    "timescales: trace must be a Trace, e.g. traces[0].forward of a net's traces, got a tuple.": (
        lambda: gj.timescales((gj.trace(CELL, PARAMS, XS), ()))
    ),
    "saturation: trace must be a Trace, e.g. traces[0].forward of a net's traces, got a tuple.": (
        lambda: gj.saturation((gj.trace(CELL, PARAMS, XS), ()))
    ),
    "gradient_norms: cell must be a Cell, e.g. gru(64), got a Layer. Of a cell inside a net give "
    "its own parameters, and the x of its trace as xs.": lambda: gj.gradient_norms(
        gj.recurrent(CELL), PARAMS, XS, lambda hs, _: hs.sum()
    ),
    "lyapunov_exponent: cell must be a Cell, e.g. gru(64), got a Layer. Of a cell inside a net "
    "give its own parameters, and the x of its trace as xs.": lambda: gj.lyapunov_exponent(
        jax.random.key(0), gj.recurrent(CELL), PARAMS, XS
    ),
    "lyapunov_exponent: burn_in must be 0 or more, got -1.": lambda: gj.lyapunov_exponent(
        jax.random.key(0), CELL, PARAMS, XS, burn_in=-1
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", CASES)
def test_wrong_input_is_one_clear_message(message):
    with refused(message):
        CASES[message]()
