"""A mesh whose axes are Explicit: each device runs its own rows, and results stay there."""

import subprocess
import sys

import pytest

START = """
import os
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = flags + " --xla_force_host_platform_device_count=4"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # of loops: each program runs once
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gru_jax as gj

B, T, I, H = 8, 5, 3, 6
rng = np.random.default_rng(0)
xs = jnp.asarray(rng.normal(size=(B, T, I)), jnp.float32)
h0, h_reset = (jnp.asarray(rng.normal(size=(B, H)), jnp.float32) for _ in range(2))
mask, resets = (jnp.asarray(rng.random((B, T)) < share) for share in (0.7, 0.3))
lengths = jnp.asarray(rng.integers(0, T + 1, B))
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
both = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
key = jax.random.key(0)


def close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), got, want)


def put(tree, *axes, mesh=mesh):
    return jax.device_put(tree, NamedSharding(mesh, P(*axes)))


def spec(a):
    return jax.typeof(a).sharding.spec
"""

ROWS = """
bounds = {"mask": mask, "lengths": lengths, "resets": resets, "h_reset": h_reset}
for reset, bounds, ways in (
    ("before", bounds, {}),
    ("after", {}, {}),
    ("after", bounds, {"memory": "states", "chunk_size": 2}),
):
    cell = gj.gru(H, reset=reset)
    params = cell.init(key, I)
    for backend in ("cpu", "xla"):

        def loss(params, xs, h0, bounds):
            hs, h_last = gj.unroll(cell, params, xs, h0, backend=backend, **bounds, **ways)
            return (hs**2).sum() + h_last.sum(), (hs, h_last)

        gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
        step = jax.jit(gradient)
        want = step(params, xs, h0, bounds)
        there = put(params), *put((xs, h0, bounds), "data")
        close(step(*there), want)
        with jax.set_mesh(mesh):
            close(gradient(*there), want)
            program = step.lower(*there).compile()
        got = program(*there)
        close(got, want)
        (found, d_xs, d_h0), (hs, h_last) = got
        assert all(spec(a) == P("data", None, None) for a in (hs, d_xs))
        assert all(spec(a) == P("data", None) for a in (h_last, d_h0))
        assert all(spec(a) == P(*[None] * a.ndim) for a in jax.tree.leaves(found))
        text = program.as_text()
        assert not re.findall(r"(all-gather|all-to-all|collective-permute)", text)
        calls = [line for line in text.splitlines() if 'custom_call_target="gru_jax_' in line]
        assert bool(calls) == (backend == "cpu")
        sizes = [re.search(r"= \\(?f32\\[(\\d+),(\\d+),", call).groups() for call in calls]
        assert all("2" in size for size in sizes), calls  # the rows of each device
"""

ELSEWHERE = """
cell = gj.gru(H)
params = cell.init(key, I)
hs, h_last = gj.unroll(cell, params, xs)
several = xs.reshape(2, 4, T, I)
with jax.set_mesh(mesh):
    # Time-major; several batch axes; nothing in pieces.
    got = gj.unroll(cell, put(params), put(xs.swapaxes(0, 1), None, "data"), time_axis=0)
    close((got[0].swapaxes(0, 1), got[1]), (hs, h_last))
    assert spec(got[0]) == P(None, "data", None)
    got, last = gj.unroll(cell, put(params), put(several, None, "data"))
    close(got.reshape(hs.shape, out_sharding=P()), hs)
    assert spec(got) == P(None, "data", None, None)
    assert spec(last) == P(None, "data", None)
    close(gj.unroll(cell, put(params), put(xs)), (hs, h_last))
    close(gj.unroll(cell, params, xs), (hs, h_last))
    # Mapped: the data, and the parameters.
    loss = lambda params, xs: (gj.unroll(cell, params, xs)[0] ** 2).sum()
    each = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))
    close(each(put(params), put(xs, "data")), each(params, xs))
    double = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    ensemble = jax.jit(jax.vmap(jax.grad(loss), (0, None)))
    close(ensemble(put(double), put(xs, "data")), ensemble(double, xs))
    # The trace, other cells, a net, second derivatives.
    trace = gj.trace(cell, put(params), put(xs, "data"), lengths=put(lengths, "data"))
    close(trace, gj.trace(cell, params, xs, lengths=lengths))
    assert spec(trace.z) == P("data", None, None)
    for other in (gj.layer_norm_gru(H), gj.learned_initial_state(cell), gj.gru(H, clip=0.5)):
        own = other.init(key, I)
        close(gj.unroll(other, put(own), put(xs, "data")), gj.unroll(other, own, xs))
    net = gj.stack(gj.bidirectional(cell), gj.recurrent(cell))
    own = net.init(key, I)
    score = jax.jit(jax.grad(lambda p, xs, n: (net.apply(p, xs, lengths=n)[0] ** 2).sum()))
    close(score(put(own), *put((xs, lengths), "data")), score(own, xs, lengths))
    slope = jax.jit(lambda p, xs: jax.jvp(jax.grad(loss), (p, xs), (p, xs))[1])
    close(slope(put(params), put(xs, "data")), slope(params, xs))
with jax.set_mesh(both):
    # Rows over both axes; weights, inputs and time in pieces.
    rows = put(xs, ("data", "model"), mesh=both)
    got = gj.unroll(cell, put(params, mesh=both), rows)
    close(got, (hs, h_last))
    assert spec(got[0]) == P(("data", "model"), None, None)
    pieces = jax.tree.map(lambda a: put(a, *[None] * (a.ndim - 1), "model", mesh=both), params)
    step = jax.jit(jax.grad(loss, argnums=(0, 1)))
    got = step(pieces, put(xs, "data", mesh=both))
    close(got, step(params, xs))
    assert spec(got[0].W_c) == P(None, "model")
    longer = jnp.tile(xs, (1, 2, 1))
    got = gj.unroll(cell, pieces, put(longer, "data", "model", mesh=both))
    close(got, gj.unroll(cell, params, longer))
    # Within a map over one of its axes.
    ins, out = (P(), P("data")), P("data")
    run = lambda params, xs: gj.unroll(cell, params, xs)[0]
    run = jax.jit(jax.shard_map(run, in_specs=ins, out_specs=out, axis_names={"data"}))
    close(run(put(params, mesh=both), put(xs, "data", mesh=both)), hs)
    close(run(put(params, mesh=both), rows), hs)
"""

RANDOM = """
cell = gj.gru(H)
params = cell.init(key, I)
for rate, key in (("zoneout", None), ("zoneout", key), ("recurrent_dropout", key)):
    step = jax.jit(lambda params, xs: gj.unroll(cell, params, xs, key=key, **{rate: 0.4})[0])
    want = step(params, xs)
    with jax.set_mesh(mesh):
        got = step(put(params), put(xs, "data"))
    close(got, want)
    assert spec(got) == P("data", None, None)
"""


SLOW = pytest.mark.slow("compiles dozens of programs for four devices")


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(ROWS, id="rows", marks=SLOW),
        pytest.param(ELSEWHERE, id="elsewhere", marks=SLOW),
        pytest.param(RANDOM, id="random"),
    ],
)
def test_each_device_runs_its_own_rows_to_the_same_numbers(what):
    done = subprocess.run([sys.executable, "-c", START + what], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
