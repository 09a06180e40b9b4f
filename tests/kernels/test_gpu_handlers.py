"""The GPU handlers refuse arrays and attributes that do not fit: an error names them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gru_jax.kernels.gpu import calls, library

T, B, H = 2, 3, 5
STEPS = (T, B, H)

FORWARD = {
    "drive": (T, B, 3 * H),
    "U": (3, H, H),
    **dict.fromkeys(("b_r", "b_z", "b_c", "b_h"), (H,)),
    "h0": (B, H),
    "flags": (T, B),
    "h_reset": (B, H),
}
BACKWARD = {
    **dict.fromkeys(("W_r", "W_z", "W_c"), (4 + H, H)),
    "hs": STEPS,
    "h0": (B, H),
    "flags": (T, B),
    "h_reset": (B, H),
    **dict.fromkeys(("r", "z", "c", "q", "dhs"), STEPS),
}
RESULTS = {
    "forward": dict.fromkeys(("states", "r", "z", "c", "q"), STEPS),
    "backward": dict.fromkeys(("da_r", "da_z", "da_c", "dq"), STEPS)
    | {"dh0": (B, H), "dh_reset": (B, H)},
}


OPERANDS = {"forward": FORWARD, "backward": BACKWARD}
ARRAYS = [(way, name) for way in RESULTS for name in dict.fromkeys((*OPERANDS[way], *RESULTS[way]))]
LABELS = dict.fromkeys(("b_r", "b_z", "b_c", "b_h"), "b must be")
LABELS |= dict.fromkeys(("r", "z", "c", "q"), "gates must be")
LABELS |= dict.fromkeys(("da_z", "da_c", "dq"), "da must be")
LABELS |= dict.fromkeys(("W_r", "W_z", "W_c"), "(W must be|weights must have a row for each unit)")
LABELS |= dict.fromkeys(
    ("states", "da_r"), "(states must have three axes|h0 must be|flags must be)"
)
"""The names of arrays in the handlers' errors, if they differ."""


def call(way, **changes):
    """Calls a handler with ones; `changes` are shapes and attributes."""

    def array(name, shape):
        given = changes.get(name, shape)
        return jnp.ones(given, jnp.int32 if name == "flags" else jnp.float32)

    operands = [array(*item) for item in OPERANDS[way].items()]
    results = [
        jax.ShapeDtypeStruct(changes.get(name, shape), jnp.float32)
        for name, shape in RESULTS[way].items()
    ]
    ways = calls._attributes(way, jnp.zeros((B, H)), True, False, 0, None)
    ways |= {"keep": True} if way == "forward" else {}
    ways |= {name: changes[name] for name in ways if name in changes}
    target = getattr(library, way.upper())
    return jax.block_until_ready(jax.ffi.ffi_call(target, results)(*operands, **ways))


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize(("way", "name"), ARRAYS)
def test_an_array_of_another_shape_is_refused(way, name):
    call(way)
    shape = (OPERANDS[way] | RESULTS[way])[name]
    others = [(1, *shape), (*shape[:-1], shape[-1] + 1), (shape[0] + 1, *shape[1:]), (), (0,)]
    if name in ("flags", "h_reset"):
        others.remove((0,))  # it may be absent
    if name.startswith("W"):
        others.remove((shape[0] + 1, *shape[1:]))  # the weights of one input more
    for other in others:
        with pytest.raises(jax.errors.JaxRuntimeError) as caught:
            call(way, **{name: other})
        label = LABELS.get(name, f"{name} must be")
        assert re.fullmatch(f"INVALID_ARGUMENT: gru_jax: {label}.*", str(caught.value))


DAMAGED = np.zeros(100, np.uint8)
WRONG = [
    ({"time_axis": np.int64(2)}, "states must have three axes, and time must be one of the first"),
    ({"states": (0, B, H)}, "time, rows and hidden must be 1 or more"),
    ({"width": np.int64(100)}, "no kernel of such a width"),
    ({"name": "gru_forward"}, "cuModuleGetFunction failed: a told failure (500)"),
    ({"image": DAMAGED}, "cuModuleLoadData failed: a told failure (200)"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG)
def test_attributes_and_images_that_do_not_fit_are_refused(changes, said, emulated):
    emulated.have()
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape(f"gru_jax: {said}")):
        call("forward", **changes)


@pytest.mark.usefixtures("emulated")
def test_a_state_that_the_width_does_not_hold_is_refused():
    wide = {"drive": (T, B, 195), "U": (3, 65, 65), "h0": (B, 65), "h_reset": (B, 65)}
    wide |= dict.fromkeys(("b_r", "b_z", "b_c", "b_h"), (65,))
    wide |= dict.fromkeys(RESULTS["forward"], (T, B, 65))
    with pytest.raises(jax.errors.JaxRuntimeError, match="gru_jax: no kernel of such a width"):
        call("forward", **wide)
