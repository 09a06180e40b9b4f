"""A wrong call of `ScannedRNN` is one clear message, the same in linen and in nnx."""

import jax
import jax.numpy as jnp
import pytest
import scanned_cases
from flax import nnx
from refusals import refused
from scanned_cases import HIDDEN, INPUT, draw_weights

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx

pytestmark = pytest.mark.untyped

make = scanned_cases.make  # The fixture: each of these tests is run for both.

TIME, BATCH = 9, 3
CARRY = jnp.zeros((BATCH, HIDDEN))
INS = jnp.zeros((TIME, BATCH, INPUT))
RESETS = jnp.zeros((TIME, BATCH))
CALL = "the call is rnn(carry, (ins, resets))."
FITS = "to match the batch axes of carry (3, 5), got"
STEPS = "ScannedRNN: resets must be (9, 3) booleans or numbers to match the time and batch axes of"

CASES = {
    f"ScannedRNN: x must be the pair (ins, resets), got float32[9, 3, 4]; {CALL}": (CARRY, INS),
    "ScannedRNN: x must be the pair (ins, resets), got tuple of float32[9, 3, 4], float32[9, 3], "
    f"float32[9, 3]; {CALL}": (CARRY, (INS, RESETS, RESETS)),
    f"ScannedRNN: x must be the pair (ins, resets), got float32[3, 5]; {CALL}": (
        (INS, RESETS),
        CARRY,
    ),
    f"ScannedRNN: carry must be an array, got a NoneType; {CALL}": (None, (INS, RESETS)),
    f"ScannedRNN: resets must be an array, got a NoneType; {CALL}": (CARRY, (INS, None)),
    f"{FITS} (9, 3) float32. Have ins and resets changed places? The call is "
    "rnn(carry, (ins, resets)).": (CARRY, (RESETS, INS)),
    f"{FITS} (3, 4) float32. For one step, give ins[None] and resets[None].": (
        CARRY,
        (INS[0], RESETS[0]),
    ),
    f"{FITS} (3, 9, 4) float32. Its axes of time and batch have changed places.": (
        CARRY,
        (INS.swapaxes(0, 1), RESETS.T),
    ),
    f"{FITS} (9, 2, 4) float32.": (CARRY, (INS[:, :2], RESETS[:, :2])),
    f"{FITS} (9, 3, 4) complex64.": (CARRY, (INS + 0j, RESETS)),
    f"{STEPS} ins, got (3, 9) bool. Its axes of time and batch have changed places.": (
        CARRY,
        (INS, RESETS.T != 0),
    ),
    f"{STEPS} ins, got (8, 3) float32.": (CARRY, (INS, RESETS[1:])),
    f"{STEPS} ins, got (9,) float32.": (CARRY, (INS, RESETS[:, 0])),
    f"{STEPS} ins, got (9, 3, 1) float32.": (CARRY, (INS, RESETS[..., None])),
    f"{STEPS} ins, got (9, 3) complex64.": (CARRY, (INS, RESETS + 0j)),
    "ScannedRNN: ins must be real numbers [time, 4] to match the batch axes of carry (), got (4,) "
    "float32.": (CARRY[0, 0], (INS[0, 0], RESETS[:4, 0])),
    f"{STEPS.replace('9', '3')} ins, got (3, 3) complex64.": (CARRY, (INS[:3], RESETS[:3] + 0j)),
    "ScannedRNN: carry must be (3, 5), got (3, 4).": (CARRY[:, 1:], (INS, RESETS)),
    "ScannedRNN: carry must be float32, as dtype, ins and parameters say, got bfloat16.": (
        CARRY.astype(jnp.bfloat16),
        (INS, RESETS),
    ),
    "ScannedRNN: carry must be float32, as dtype, ins and parameters say, got int32.": (
        CARRY.astype(int),
        (INS, RESETS),
    ),
}


@pytest.mark.parametrize("message", CASES)
def test_a_wrong_argument_is_one_sentence(rng, make, message):
    ours = make(draw_weights(rng))
    carry, x = CASES[message]
    if message.startswith(FITS):
        inputs = INPUT if make is scanned_cases.make_nnx else "input"
        message = f"ScannedRNN: ins must be real numbers [time, 3, {inputs}] {message}"
    elif make is scanned_cases.make_linen:
        message = message.replace("[time, 4]", "[time, input]")
    with refused(message):
        ours.apply(ours.variables, carry, x)
    with refused(message):
        jax.jit(lambda variables: ours.apply(variables, carry, x))(ours.variables)


def test_without_features_the_message_says_where_their_number_comes_from():
    with refused(
        "ScannedRNN: carry must be (3, 4), got (3, 5). Without features=..., it has as many as ins."
    ):
        gru_jax.linen.ScannedRNN().init(jax.random.key(0), CARRY, (INS, RESETS))


def test_inputs_of_another_size_than_nnx_was_built_for_are_refused():
    rnn = gru_jax.nnx.ScannedRNN(INPUT + 1, HIDDEN, rngs=nnx.Rngs(0))
    with refused(
        "ScannedRNN: ins must be real numbers [time, 3, 5] to match the batch axes of carry "
        "(3, 5), got (9, 3, 4) float32."
    ):
        rnn(CARRY, (INS, RESETS))


@pytest.mark.parametrize("name", ["linen", "nnx"])
def test_weights_and_options_that_do_not_fit_are_refused(name):
    def build(**options):
        if name == "nnx":
            return gru_jax.nnx.ScannedRNN(INPUT, HIDDEN, rngs=nnx.Rngs(0), **options)
        rnn = gru_jax.linen.ScannedRNN(HIDDEN, **options)
        rnn.init(jax.random.key(0), CARRY, (INS, RESETS))
        return rnn

    rnn = build()
    put = rnn.set_params if name == "nnx" else rnn.variables_from
    cell = gj.gru(HIDDEN)
    with refused(
        "ScannedRNN: net must have layers_0.forward.reset after, as this module was built, got "
        "before: build the module as the net is."
    ):
        put(cell, cell.init(jax.random.key(0), INPUT))
    half = gj.gru(HIDDEN, reset="after", dtype="bfloat16")
    with refused("ScannedRNN: params must be float32, as param_dtype says, got bfloat16."):
        put(half, half.init(jax.random.key(0), INPUT))
    with refused("ScannedRNN: dtype must be a floating type, got int32."):
        build(dtype=jnp.int32)
    with pytest.raises(ValueError, match=r'^gru: reset must be "before" or "after", got \'no\''):
        build(reset="no")
    with pytest.raises(TypeError, match="num_layers"):
        build(num_layers=2)


def test_the_module_itself_is_no_flax_cell_to_convert():
    rnn = gru_jax.nnx.ScannedRNN(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"got gru_jax's ScannedRNN: its net\(\) and its params"):
        gj.interop.from_nnx(rnn, name=None)
