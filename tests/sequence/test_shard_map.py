"""`shard_map`, which checks what varies over a mesh: any one argument may vary, and any may not.

    each device runs `unroll` on its shard  ==  `unroll` on that shard without a mesh

The oracle runs one shard after the other, one sequence at a time, outside the mesh.
"""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import os
flags = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = flags + " --xla_force_host_platform_device_count=2"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # of loops: each program runs once
import json
import sys
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

import gru_jax as gj

DEVICES, BATCH, TIME, INPUT, HIDDEN = 2, 2, 5, 3, 4
MESH = jax.make_mesh((DEVICES,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
CELLS = {
    "gru": gj.gru(HIDDEN),
    "gru-after": gj.gru(HIDDEN, reset="after"),
    "relu": gj.gru(HIDDEN, activation="relu"),
    "layer-norm": gj.layer_norm_gru(HIDDEN),
}
MEMORIES = {
    "gates": {"memory": "gates"},
    "states": {"memory": "states", "chunk_size": 2},
    "chunked": {"memory": "chunked", "chunk_size": 2},
}
rng = np.random.default_rng(0)


@lru_cache
def draw(cell_name):
    # Returns arguments by name, each with one shard for each device in front.
    def normal(*shape):
        return jnp.asarray(rng.normal(0, 0.7, (DEVICES, *shape)), jnp.float32)

    init = lambda: CELLS[cell_name].init(jax.random.key(0), INPUT)
    shapes = jax.eval_shape(init)
    return {
        "params": jax.tree.map(lambda leaf: normal(*leaf.shape), shapes),
        "xs": normal(BATCH, TIME, INPUT),
        "h0": normal(BATCH, HIDDEN),
        "lengths": jnp.asarray(rng.integers(0, TIME + 1, (DEVICES, BATCH))),
        "mask": normal(BATCH, TIME) > -0.5,
        "resets": normal(BATCH, TIME) > 0.4,
        "h_reset": normal(BATCH, HIDDEN),
    }


def weigh(outputs, weights):
    return sum((w * a).sum() for w, a in zip(weights, outputs))


def run_on(function, specs):
    return jax.jit(jax.shard_map(function, mesh=MESH, in_specs=(specs,), out_specs=P("data")))


@lru_cache
def compile_one(cell_name, bounds):
    # Returns `(arguments, weights) -> outputs, gradients` of one sequence, by XLA's plain loop.
    cell = CELLS[cell_name]

    def outputs(params, xs, h0, **bounds):
        return gj.unroll(cell, params, xs, h0, backend="xla", memory="gates", **bounds)

    def one(row, weights):
        own = {name: a for name, a in row.items() if name in ("params", "xs", "h0", "h_reset")}
        gradients = jax.grad(lambda own: weigh(outputs(**(row | own)), weights))(own)
        return outputs(**row), gradients

    return jax.jit(one)


def check(cell_name, memory, varying, bounds, backend):
    cell, bounds = CELLS[cell_name], tuple(bounds)
    values = draw(cell_name)
    names = ("params", "xs", "h0", *bounds)
    moving = [name for name in names if name in ("params", "xs", "h0", "h_reset")]
    shapes = (BATCH, TIME, HIDDEN), (BATCH, HIDDEN)
    weights = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    values = {
        name: values[name] if name in varying else jax.tree.map(lambda a: a[:1], values[name])
        for name in names
    }

    def call(params, xs, h0, **bounds):
        return gj.unroll(cell, params, xs, h0, backend=backend, **MEMORIES[memory], **bounds)

    specs = {name: P("data" if name in varying else None) for name in names}

    def on_devices(grads, shards):
        shard = jax.tree.map(lambda a: a[0], shards)
        outputs = call(**shard)

        def loss(own):
            return weigh(call(**(shard | own)), weights)

        own = {name: shard[name] for name in moving}
        results = (outputs, jax.grad(loss)(own)) if grads else outputs
        return jax.tree.map(lambda a: as_varying(a)[None], results)

    def as_varying(a):
        varies = "data" in jax.typeof(a).manual_axis_type.varying
        return a if varies else jax.lax.pcast(a, ("data",), to="varying")

    outputs_alone = None
    if varying == ["params"]:  # without derivatives too
        outputs_alone = run_on(partial(on_devices, False), specs)(values)
    found = run_on(partial(on_devices, True), specs)(values)
    one = compile_one(cell_name, bounds)
    devices = []
    for device in range(DEVICES):
        rows = []
        for row in range(BATCH):
            shard = {n: jax.tree.map(lambda a: a[device if n in varying else 0], v)
                     for n, v in values.items()}
            shard = {n: v if n == "params" else v[row] for n, v in shard.items()}
            rows.append(one(shard, [w[row] for w in weights]))
        outputs, gradients = jax.tree.map(lambda *a: np.stack(a), *rows)
        gradients["params"] = jax.tree.map(lambda a: a.sum(0), gradients["params"])
        devices.append((outputs, gradients))
    outputs, gradients = jax.tree.map(lambda *a: np.stack(a), *devices)
    for name in moving:
        if varying and name not in varying:  # what all devices share has the sum over all
            total = jax.tree.map(lambda a: a.sum(0), gradients[name])
            gradients[name] = jax.tree.map(lambda a: np.stack([a] * DEVICES), total)
    if outputs_alone:
        close(outputs_alone, outputs)
    close(found, (outputs, gradients))


def close(actual, expected):
    compare = partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-5)
    jax.tree.map(compare, actual, expected)


for case in json.loads(sys.argv[1]):
    try:
        check(*case)
        print(json.dumps(None))
    except Exception as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
"""

BOUNDS = ("lengths", "mask", "resets", "h_reset")
VARYING = ("params", "xs", "h0", *BOUNDS)
CASES = [
    # The cell, the memory, what varies over the mesh, which bounds there are, the backend.
    *(("gru", "gates", [name], BOUNDS, "xla") for name in VARYING),
    *(("gru", "chunked", [name], BOUNDS, "xla") for name in ("params", "lengths", "h_reset")),
    ("gru", "states", ["params"], BOUNDS, "xla"),
    *(("relu", "gates", [name], BOUNDS, "xla") for name in ("params", "mask", "h_reset")),
    *(("relu", memory, ["params"], BOUNDS, "xla") for memory in ("states", "chunked")),
    *(("layer-norm", "gates", [name], BOUNDS, "xla") for name in ("params", "lengths")),
    *((cell, "gates", ["params"], (), "xla") for cell in ("gru", "gru-after", "relu")),
    ("gru", "gates", ["h0"], (), "xla"),
    ("gru", "gates", [], BOUNDS, "xla"),
    ("relu", "gates", list(VARYING), BOUNDS, "xla"),
    *(("gru", memory, ["params"], BOUNDS, "cpu") for memory in ("gates", "chunked")),
]


def name_of(case):
    cell, memory, varying, bounds, backend = case
    return f"{backend}-{cell}-{memory}-{'+'.join(varying) or 'nothing'}-{len(bounds)}-bounds"


@pytest.fixture(scope="module")
def results():
    """Returns each case's error, or None, by one process with two devices."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(CASES)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(map(name_of, CASES), map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.slow("compiles dozens of programs for two devices")
@pytest.mark.parametrize("case", [name_of(case) for case in CASES])
def test_each_device_runs_its_shard(case, results):
    assert results[case] is None, results[case]
