from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads
from refusals import refused

import gru_jax as gj
from gru_jax.testing import check_cell

SPACE = {1: (5,), 2: (4, 3), 3: (3, 2, 2)}
CASES = {
    "plain": {},
    "after": {"reset": "after"},
    "even": {"kernel_size": (2, 4)},
    "one-axis": {"kernel_size": (3,)},
    "three-axes": {"kernel_size": (1, 2, 3)},
    "coordinates": {"coordinates": True},
    "context": {"context": True, "reset": "after"},
    "norm": {"norm": "layer", "coordinates": True},
    "norm-after": {"norm": "layer", "reset": "after", "epsilon": 0.1},
    "relu": {"activation": "relu"},
}
QUICK = "plain", "after", "coordinates"
SLOW = pytest.mark.slow("compiles many loops or derivatives")


def draw(rng, options, dtype=np.float64, batch=(2,), time=4, channels=3, features=2):
    """Returns a cell, random parameters, inputs and a state."""
    cell = gj.conv_gru(channels, **options, dtype=dtype)
    space = SPACE[len(options.get("kernel_size", (3, 3)))]
    size = features + 3 * channels * options.get("context", False)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), dtype),
        cell.init(jax.random.key(0), size),
    )
    xs = jnp.asarray(rng.normal(size=(*batch, time, *space, size)), dtype)
    return cell, params, xs, jnp.asarray(rng.normal(size=(*batch, *space, channels)), dtype)


def oracle(options):
    """Returns the gates of one step, in NumPy."""
    known = {name: options[name] for name in ("epsilon",) if name in options}
    activation = reference.ACTIVATIONS[options.get("activation", "tanh")]
    return partial(reference.conv_gates, activation=activation, **known)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("x64")
def test_a_step_is_the_equations(name, rng):
    cell, params, xs, h = draw(rng, CASES[name])
    expected = oracle(CASES[name])(params, np.asarray(xs[:, 0]), np.asarray(h))[-1]
    np.testing.assert_allclose(cell.step(params, xs[:, 0], h), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        pytest.param(name, reverse, marks=() if reverse == (name in QUICK) else SLOW)
        for name in CASES
        for reverse in (False, True)
    ],
)
@pytest.mark.usefixtures("x64")
def test_unroll_is_the_numpy_loop(name, reverse, rng):
    cell, params, xs, h0 = draw(rng, CASES[name])
    valid, resets = rng.random((2, 4)) < 0.7, rng.random((2, 4)) < 0.4
    boundaries = {"resets": resets, "h_reset": rng.normal(size=h0.shape), "reverse": reverse}
    expected = reference.unroll(
        params, np.asarray(xs), h0, valid, gates=oracle(CASES[name]), **boundaries
    )
    xs = jnp.where(valid.reshape(2, 4, *[1] * (xs.ndim - 2)), xs, jnp.nan)
    actual = gj.unroll(cell, params, xs, h0, mask=valid, **boundaries)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_separable_kernels_run_one_after_the_other(rng):
    cell, params, xs, h = draw(rng, {"kernel_size": (3, 5), "separable": True})
    assert [p.W_r.shape for p in params] == [(1, 5, 5, 3), (3, 1, 5, 3)]
    listed = gj.conv_gru(3, ((1, 5), (3, 1)), separable=True, dtype=jnp.float64)
    expected = np.asarray(h)
    for own in params:
        expected = reference.conv_gates(own, np.asarray(xs[:, 0]), expected)[-1]
    for same in (cell, listed):
        actual, _ = gj.unroll(same, params, xs[:, :1], h)
        np.testing.assert_allclose(actual[:, 0], expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(same.step(params, xs[:, 0], h), expected, rtol=1e-10)


BATTERY = CASES | {
    "separable": {"separable": True},
    "separable-norm": {"separable": True, "norm": "layer"},
}


@SLOW
@pytest.mark.parametrize("name", BATTERY)
def test_it_does_all_that_a_cell_promises(name):
    options = BATTERY[name]
    check_cell(gj.conv_gru(2, **options), 3 + 6 * options.get("context", False))


@SLOW
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reset": "after", "context": True},
        {"separable": True},
        {"separable": True, "reset": "after", "coordinates": True},
    ],
)
@pytest.mark.usefixtures("x64")
def test_the_rule_is_the_derivative_of_the_loop(options, rng):
    """With the gates seeing a part of the state alone, and half of it held."""
    cell, params, xs, h0 = draw(rng, options)
    noise = {"key": jax.random.key(1), "zoneout": 0.5, "recurrent_dropout": 0.3}
    noise["drop_connect"] = 0.2

    def loss(params, xs, h0, derivative):
        hs, _ = gj.unroll(cell, params, xs, h0, derivative=derivative, **noise)
        return jnp.sin(hs).sum()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)), static_argnums=3)
    actual, expected = (gradient(params, xs, h0, name) for name in ("rule", "autodiff"))
    for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@SLOW
@pytest.mark.parametrize("options", [{"coordinates": True}, {"separable": True}])
@pytest.mark.usefixtures("x64")
def test_second_derivatives_match_finite_differences(options, rng):
    cell, params, xs, h0 = draw(rng, options, time=3, batch=(1,))

    @jax.jit
    def loss(params, xs, h0):
        hs, last = gj.unroll(cell, params, xs, h0, mask=jnp.array([[True, False, True]]))
        return (hs**2).sum() + jnp.sin(last).sum()

    check_grads(loss, (params, xs, h0), order=2, atol=1e-6, rtol=1e-6, eps=1e-5)


@SLOW
def test_parameters_and_examples_can_be_mapped(rng):
    cell, params, xs, h0 = draw(rng, {"coordinates": True}, np.float32)
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)

    def loss(params, xs, h0):
        return (gj.unroll(cell, params, xs, h0)[0] ** 2).sum()

    gradient = jax.jit(jax.grad(loss))
    members = jax.vmap(gradient, (0, None, None))(twice, xs, h0)
    doubled = gradient(jax.tree.map(lambda leaf: 2 * leaf, params), xs, h0)
    examples = jax.vmap(gradient, (None, 0, 0))(params, xs, h0)
    whole = gradient(params, xs, h0)
    for member, double, example, total in zip(
        *map(jax.tree.leaves, (members, doubled, examples, whole)), strict=True
    ):
        np.testing.assert_allclose(member[1], double, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(example.sum(0), total, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("x64")
def test_one_set_of_parameters_serves_images_of_any_size(rng):
    cell, params, *_ = draw(rng, {"coordinates": True})
    for space in ((1, 1), (1, 6), (7, 2)):
        x, h = rng.normal(size=(*space, 2)), rng.normal(size=(*space, 3))
        expected = reference.conv_gates(params, x, h)[-1]
        np.testing.assert_allclose(
            gj.unroll(cell, params, x[None], h)[1], expected, rtol=1e-10, atol=1e-12
        )


def count(jaxpr, name, inside=False):
    """Returns the number of primitives of this name in the bodies of loops."""
    total = 0
    for equation in jaxpr.eqns:
        total += inside and equation.primitive.name == name
        within = inside or equation.primitive.name in ("while", "scan")
        for value in jax.tree.leaves(list(equation.params.values())):
            if inner := getattr(value, "jaxpr", None):
                total += count(inner, name, within)
    return total


@pytest.mark.parametrize("coordinates", [False, True])
def test_coordinates_are_convolved_before_the_loop(coordinates, rng):
    cell, params, xs, h0 = draw(rng, {"coordinates": coordinates}, np.float32)
    jaxpr = jax.make_jaxpr(partial(gj.unroll, cell))(params, xs, h0)
    assert count(jaxpr.jaxpr, "conv_general_dilated") == 2


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_stays_near_single(dtype, rng):
    cell, params, xs, h0 = draw(rng, {"coordinates": True}, np.float32, time=8)
    half = jax.tree.map(lambda a: a.astype(dtype), (params, xs, h0))
    hs, _ = gj.unroll(gj.conv_gru(3, coordinates=True, dtype=dtype), *half)
    assert hs.dtype == dtype
    # Inputs, weights and states are off by up to 2^-9 each, amplified by the weights.
    np.testing.assert_allclose(
        hs.astype(jnp.float32), gj.unroll(cell, params, xs, h0)[0], atol=0.03
    )


PLAIN = gj.conv_gru(4)
PARAMS = PLAIN.init(jax.random.key(0), 3)
XS = jnp.zeros((2, 5, 8, 9, 3))
KERNEL = (
    "conv_gru: kernel_size must be a tuple of one to three whole numbers from 1, one for each "
    "space axis"
)
REFUSED = {
    "conv_gru: channels must be a whole number from 1, got 0.": lambda: gj.conv_gru(0),
    "conv_gru: channels must be a whole number from 1, got True.": lambda: gj.conv_gru(True),
    "conv_gru: coordinates must be True or False, got 'no'.": lambda: gj.conv_gru(
        4, coordinates="no"
    ),
    f"{KERNEL}, got (True, 3).": lambda: gj.conv_gru(4, (True, 3)),
    "conv_gru: params.W_r must be an array, got None.": lambda: gj.unroll(
        PLAIN, PARAMS._replace(W_r=None), XS
    ),
    f"{KERNEL}, got 3.": lambda: gj.conv_gru(4, 3),
    f"{KERNEL}, got (3, 0).": lambda: gj.conv_gru(4, (3, 0)),
    f"{KERNEL}, got (3, 3, 3, 3).": lambda: gj.conv_gru(4, (3, 3, 3, 3)),
    f"{KERNEL}, got ((1, 5), (5, 1)).": lambda: gj.conv_gru(4, ((1, 5), (5, 1))),
    "conv_gru: kernel_size must list kernels with as many axes, got ((1, 5), (5,)).": lambda: (
        gj.conv_gru(4, ((1, 5), (5,)), separable=True)
    ),
    f"{KERNEL}, got 5.": lambda: gj.conv_gru(4, ((1, 5), 5), separable=True),
    f"{KERNEL}, got ().": lambda: gj.conv_gru(4, (), separable=True),
    "conv_gru: norm must be None or \"layer\", got 'batch'.": lambda: gj.conv_gru(4, norm="batch"),
    "conv_gru: epsilon must be above 0 and finite, got 0.": lambda: gj.conv_gru(4, epsilon=0),
    'conv_gru: reset must be "before" or "after", got \'late\'.': lambda: gj.conv_gru(
        4, reset="late"
    ),
    "conv_gru: input_size must be a whole number from 1, got 0.": lambda: PLAIN.init(
        jax.random.key(0), 0
    ),
    "conv_gru: input_size must be above 12, the channels of the context, got 12.": lambda: (
        gj.conv_gru(4, context=True).init(jax.random.key(0), 12)
    ),
    "unroll: xs must be [*batch, time, any, any, 3] float32 to match params.W_r (3, 3, 7, 4), "
    "got (2, 5, 8, 9, 2) float32.": lambda: gj.unroll(PLAIN, PARAMS, XS[..., :2]),
    "conv_gru: xs must have space axes of 1 or more, got (0, 9).": lambda: gj.unroll(
        PLAIN, PARAMS, XS[:, :, :0]
    ),
    "unroll: mask must be (2, 5) bool to match the batch and time axes of xs, "
    "got (2, 5, 8, 9) bool.": lambda: gj.unroll(
        PLAIN, PARAMS, XS, mask=np.ones((2, 5, 8, 9), bool)
    ),
    "conv_gru: params.W_r must be [3, 3, joint, 5] to match the cell, got (3, 3, 7, 4).": (
        lambda: gj.unroll(gj.conv_gru(5), PARAMS, XS)
    ),
    "conv_gru: params.X_r must be (3, 3, 2, 4) float32 to match the cell and params.W_r "
    "(3, 3, 7, 4), got None.": lambda: gj.unroll(gj.conv_gru(4, coordinates=True), PARAMS, XS),
    "conv_gru: params.b_h must be None to match the cell and params.W_r (3, 3, 7, 4), "
    "got (4,) float32.": lambda: gj.unroll(PLAIN, PARAMS._replace(b_h=PARAMS.b_c), XS),
    "conv_gru: params must be ConvGRUParams, got a GRUParams.": lambda: gj.unroll(
        PLAIN, gj.gru(4).init(jax.random.key(0), 3), XS
    ),
    "conv_gru: params must be a tuple of 2 ConvGRUParams, one for each kernel, "
    "got ConvGRUParams.": lambda: gj.unroll(gj.conv_gru(4, separable=True), PARAMS, XS),
    "conv_gru: h must have the batch and space axes of x (2, 8, 9, 3), got (2, 8, 8, 4).": lambda: (
        PLAIN.step(PARAMS, XS[:, 0], jnp.zeros((2, 8, 8, 4)))
    ),
}


@pytest.mark.untyped
@pytest.mark.parametrize("message", REFUSED)
def test_a_wrong_argument_is_one_clear_message(message):
    with refused(message):
        REFUSED[message]()
