"""A cell of any kind beside its NumPy loop, with random weights and random biases."""

import jax
import jax.numpy as jnp
import numpy as np
import reference

import gru_jax as gj

LENGTHS = np.array([7, 0, 3, 5])


def draw(rng, cell, input_size=3, batch=(4,), time=7):
    """Returns parameters, inputs and a state, in the dtype of the cell's parameters."""
    params = draw_like(rng, cell.init(jax.random.key(0), input_size))
    (size,), dtype = cell.input(params).shape, jax.tree.leaves(params)[0].dtype
    xs = jnp.asarray(rng.normal(size=(*batch, time, size)), dtype)
    return params, xs, draw_like(rng, cell.initial_state(params, (*batch, size)))


def draw_like(rng, tree):
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.8, a.shape), a.dtype), tree)


def join(state):
    """Returns a state's arrays side by side, in float64."""
    return np.concatenate([np.asarray(leaf, float) for leaf in jax.tree.leaves(state)], -1)


def check_step(rng, cell, gates):
    """Asserts that a step is NumPy's, with no batch axis, one and two."""
    for batch in ((), (4,), (2, 3)):
        params, xs, h = draw(rng, cell, batch=batch)
        want = gates(params, np.asarray(xs[..., 0, :]), join(h))[-1]
        got = cell.step(params, xs[..., 0, :], h)
        np.testing.assert_allclose(join(got), want, rtol=1e-10)


def check_unroll(rng, cell, gates, params, xs, h0):
    """Asserts that the states are those of the NumPy loop, with every boundary."""
    valid, resets = rng.random(xs.shape[:2]) < 0.7, rng.random(xs.shape[:2]) < 0.4
    h_reset = draw_like(rng, h0)
    within = np.arange(xs.shape[1]) < LENGTHS[:, None]
    plain = {}, {}, np.ones_like(valid)
    short = {"lengths": LENGTHS}, {}, within
    full = {"mask": valid, "resets": resets, "h_reset": h_reset}
    full = full, {"resets": resets, "h_reset": join(h_reset)}, valid
    for reverse in (False, True):
        for given, told, steps in (plain, short, full):
            options = {**told, "reverse": reverse, "gates": gates}
            want = reference.trace(params, np.asarray(xs), join(h0), steps, **options)
            hs, h_last = gj.unroll(cell, params, xs, h0, **given, reverse=reverse)
            np.testing.assert_allclose(join(hs), want["h"], rtol=1e-10, atol=1e-13)
            np.testing.assert_allclose(join(h_last), want["h_last"], rtol=1e-10, atol=1e-13)


def check_trace(cell, gates, params, xs, h0):
    """Asserts that the gates are those of the NumPy loop; NaN is a gate that the cell lacks."""
    steps = np.ones(xs.shape[:2], bool)
    want = reference.trace(params, np.asarray(xs), join(h0), steps, gates=gates)
    trace = gj.trace(cell, params, xs, h0)
    for name in "rzc":
        got = getattr(trace, name)
        assert (got is None) == np.isnan(want[name]).any()
        if got is not None:
            np.testing.assert_allclose(got, want[name], rtol=1e-10, atol=1e-13)


def check_parameters(rng, cell, gates):
    """Asserts that each parameter reaches its own place, and changes the result."""
    params, xs, h = draw(rng, cell)
    x, before = xs[:, 0], join(cell.step(params, xs[:, 0], h))
    leaves, tree = jax.tree.flatten(params)
    for i, leaf in enumerate(leaves):
        moved = tree.unflatten([*leaves[:i], leaf + 0.1, *leaves[i + 1 :]])
        want = gates(moved, np.asarray(x), join(h))[-1]
        np.testing.assert_allclose(join(cell.step(moved, x, h)), want, rtol=1e-10)
        assert np.abs(want - before).max() > 1e-4


def check_gradient_of_zeros(cell):
    """Asserts that inputs and states of zeros, without any spread, have a finite gradient."""
    params = cell.init(jax.random.key(0), 3)
    loss = jax.grad(lambda p, xs: gj.unroll(cell, p, xs)[0].sum(), argnums=(0, 1))
    for leaf in jax.tree.leaves(loss(params, jnp.zeros((2, 4, 3)))):
        assert jnp.isfinite(leaf).all()


def check_dtype(rng, make, dtype, input_size=3):
    """Asserts that results and gradients have the dtype, and that sums are wide enough."""
    cell = make(dtype=dtype)
    params, xs, h0 = draw(rng, cell, input_size)

    def loss(params, xs, h0):
        results = gj.unroll(cell, params, xs, h0, lengths=LENGTHS)
        return sum(a.astype(jnp.float64).sum() for a in jax.tree.leaves(results)), results

    everything = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(params, xs, h0)
    for leaf in jax.tree.leaves(everything):
        assert leaf.dtype == dtype
        assert jnp.isfinite(leaf).all()
    step = cell.step(params, xs[:, 0], h0)
    wide = jax.tree.map(lambda a: a.astype(jnp.float64), (params, xs[:, 0], h0))
    want = join(make(dtype=jnp.float64).step(*wide))
    np.testing.assert_allclose(join(step), want, rtol=0, atol=16 * jnp.finfo(dtype).eps)
    if jnp.finfo(dtype).bits < 32:
        text = str(jax.make_jaxpr(cell.step)(params, xs[:, 0], h0))
        assert text.count("dot_general[") == text.count("preferred_element_type=float32") > 0
