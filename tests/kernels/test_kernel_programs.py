"""The programs that XLA makes of the kernel: which calls, over which arrays, on which device."""

import re
import subprocess
import sys
from pathlib import Path

import emulated_gpu
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj

pytestmark = pytest.mark.usefixtures("optimized")

BATCH, TIME, INPUT, HIDDEN = 4, 8, 3, 5


def draw(reset):
    """Returns a cell, its parameters and inputs."""
    cell = gj.gru(HIDDEN, reset=reset)
    xs = np.random.default_rng(0).normal(size=(BATCH, TIME, INPUT))
    return cell, cell.init(jax.random.key(0), INPUT), jnp.asarray(xs, jnp.float32)


def compiled_calls(function, *args):
    """Returns the lines of a compiled program that call the kernel, without the inputs' names."""
    text = jax.jit(function).lower(*args).compile().as_text()
    return [line for line in text.splitlines() if 'custom_call_target="gru_jax_' in line]


def names(calls):
    return [re.search(r'custom_call_target="gru_jax_(\w+)"', call).group(1) for call in calls]


@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_training_step_is_one_call_each_way_over_what_stands_there(reset):
    cell, params, xs = draw(reset)

    def loss(params, xs):
        return (gj.unroll(cell, params, xs, backend="cpu")[0] ** 2).sum()

    assert names(compiled_calls(loss, params, xs)) == ["forward"]
    assert "keep = false" in compiled_calls(loss, params, xs)[0]
    step = jax.value_and_grad(loss, argnums=(0, 1))
    forward, backward = compiled_calls(step, params, xs)
    assert "keep = true" in forward
    assert "inputs = true, products = true" in backward
    text = jax.jit(step).lower(params, xs).compile().as_text()
    assert f"f32[{TIME},{BATCH}" not in text  # nothing is turned time-major
    *_, backward = compiled_calls(jax.grad(loss), params, xs)
    assert "inputs = false, products = true" in backward
    *_, backward = compiled_calls(jax.grad(loss, argnums=1), params, xs)
    assert "inputs = true, products = false" in backward


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("memory", ["states", "chunked"])
def test_what_is_run_again_keeps_no_gates_before(reset, memory):
    cell, params, xs = draw(reset)

    def loss(params):
        ways = {"memory": memory, "chunk_size": 4, "backend": "cpu"}
        return (gj.unroll(cell, params, xs, **ways)[0] ** 2).sum()

    calls = compiled_calls(jax.grad(loss), params)
    assert sorted(names(calls)) == ["backward", "forward", "forward"]
    assert sum("keep = true" in call for call in calls) == 1


@pytest.mark.parametrize("reset", ["before", "after"])
def test_an_ensemble_is_one_call_each_way_over_what_stands_there(reset):
    cell, _, xs = draw(reset)
    members = jax.vmap(cell.init, (0, None))(jax.random.split(jax.random.key(0), 7), INPUT)
    xs = jnp.stack([xs] * 7)

    def loss(params, xs):
        return (gj.unroll(cell, params, xs, backend="cpu")[0] ** 2).sum()

    step = jax.vmap(jax.value_and_grad(loss, argnums=(0, 1)))
    forward, backward = compiled_calls(step, members, xs)
    assert f"f32[7,{BATCH},{TIME},{HIDDEN}]" in forward
    assert "inputs = true, products = true" in backward
    text = jax.jit(step).lower(members, xs).compile().as_text()
    assert " while(" not in text
    assert " transpose(" not in text


MESH = """
import os
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = flags + " --xla_force_host_platform_device_count=4"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # of loops: each program runs once
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gru_jax as gj

B, T, I, H = 8, 5, 3, 6
rng = np.random.default_rng(0)
xs = jnp.asarray(rng.normal(size=(B, T, I)), jnp.float32)
mask, resets = (jnp.asarray(rng.random((B, T)) < share) for share in (0.7, 0.3))
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
both = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), got, want)


def put(tree, mesh, *axes):
    return jax.device_put(tree, NamedSharding(mesh, P(*axes)))


for reset in ("before", "after"):
    cell = gj.gru(H, reset=reset, clip={"before": 0.2, "after": None}[reset])
    params = cell.init(jax.random.key(0), I)
    everywhere = put(params, mesh)
    for bounds in ({}, {"mask": mask, "resets": resets}):

        def loss(params, xs, backend, cut=B, **ways):
            some = {name: a[:cut] for name, a in bounds.items()}
            hs, h_last = gj.unroll(cell, params, xs[:cut], backend=backend, **some, **ways)
            return (hs**2).sum() + h_last.sum()

        def gradient(*args, **ways):
            run = lambda params, xs: loss(params, xs, *args, **ways)
            return jax.jit(jax.grad(run, argnums=(0, 1)))

        want = gradient("xla")(params, xs)
        rows = put(xs, mesh, "data")
        for ways in ({}, {"memory": "states", "chunk_size": 2}):
            step = gradient("cpu", **ways).lower(everywhere, rows).compile()
            close(step(everywhere, rows), want)
            text = step.as_text()
            moved = set(re.findall(r"(all-gather|all-to-all|collective-permute)", text))
            assert not moved, moved
            calls = [line for line in text.splitlines() if "custom-call" in line]
            sizes = [re.search(r"= \\(f32\\[(\\d+),(\\d+),", c) for c in calls if "gru_jax_" in c]
            assert sizes and all("2" in size.groups() for size in sizes), sizes
            assert not ways and text.count(" all-reduce(") == 1 or ways
        # Rows that do not go into the devices, weights in pieces, rows over both axes.
        close(gradient("cpu", 6)(everywhere, rows), gradient("xla", 6)(params, xs))
        pieces = jax.tree.map(lambda a: put(a, both, *[None] * (a.ndim - 1), "model"), params)
        close(gradient("cpu")(pieces, put(xs, both, "data")), want)
        close(gradient("cpu")(put(params, both), put(xs, both, ("data", "model"))), want)
        # An ensemble: members, or members and rows, on devices of their own.
        members = jax.tree.map(lambda a: jnp.stack([a, 2 * a, -a, 0 * a]), params)
        each = jax.jit(jax.vmap(gradient("cpu"), (0, None)))
        want = jax.vmap(gradient("xla"), (0, None))(members, xs)
        for where, rows, sums in ((mesh, (), 0), (both, ("model",), 1)):
            here, there = put(members, where, "data"), put(xs, where, *rows)
            step = each.lower(here, there).compile()
            close(step(here, there), want)
            text = step.as_text()
            assert text.count(" all-reduce(") == sums, text.count(" all-reduce(")
            moved = set(re.findall(r"(all-gather|all-to-all|collective-permute)", text))
            assert not moved, moved
    for mapped, on in ((mesh, {}), (mesh, {"check_vma": False}), (both, {"axis_names": {"data"}})):

        def make(backend):
            @partial(jax.shard_map, mesh=mapped, in_specs=(P(), P("data")), out_specs=P(), **on)
            def total(params, xs):
                hs, h_last = gj.unroll(cell, params, xs, backend=backend)
                return jax.lax.psum((hs**2).sum() + h_last.sum(), "data")

            first = jax.grad(total, argnums=(0, 1))
            return jax.jit(lambda *at: jax.jvp(first, at, at))(params, xs)

        close(make("cpu"), make("xla"))
"""


EMULATED = """
import pytest, sys
from pathlib import Path

sys.path.insert(0, {support!r})
import emulated_gpu

emulated_gpu.take_the_cpus_place(pytest.MonkeyPatch(), Path({folder!r}))
"""


@pytest.mark.slow("compiles dozens of programs for four devices")
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_each_device_of_a_mesh_runs_its_own_rows(device, emulated_folder):
    code = MESH
    if device == "gpu":
        support = str(Path(emulated_gpu.__file__).parent)
        install = EMULATED.format(support=support, folder=str(emulated_folder))
        code = MESH.replace("import gru_jax as gj\n", f"import gru_jax as gj\n{install}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
