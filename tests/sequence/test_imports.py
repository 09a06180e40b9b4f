"""`import gru_jax` is light, and needs nothing of JAX that is not public.

Kernels are imported when first asked for. If that fails, XLA's loops run and the log says why.
"""

import json
import subprocess
import sys

import pytest

LIGHT = """
import builtins
import json
import sys

asked, plain = [], builtins.__import__


def watch(name, globals=None, locals=None, fromlist=(), level=0):
    if str((globals or {}).get("__name__", "")).startswith("gru_jax") and level == 0:
        names = [name, *(f"{name}.{part}" for part in fromlist or ())]
        asked.extend(n for n in names if n.startswith("jax._src"))
    return plain(name, globals, locals, fromlist, level)


builtins.__import__ = watch
import gru_jax

gru_jax.gru
print(json.dumps([asked, [name for name in sys.modules if name != "gru_jax"]]))
"""

BROKEN = """
import json
import logging
import sys

import jax
import jax.extend.core
import jax.interpreters.ad
import jax.interpreters.batching
import jax.interpreters.mlir
import jax.interpreters.partial_eval
import jax.numpy as jnp
import numpy as np


def gone(*args, **kwargs):
    raise AttributeError("what was there is gone")


module, name = sys.argv[1].rsplit(".", 1)
setattr(sys.modules[module], name, gone)

import gru_jax as gj

messages = []
handler = logging.Handler()
handler.emit = lambda record: messages.append(record.getMessage())
logging.getLogger("gru_jax").addHandler(handler)
logging.getLogger("gru_jax").setLevel("DEBUG")

cell = gj.gru(4)
params, xs = cell.init(jax.random.key(0), 3), jnp.ones((2, 5, 3))
hs, _ = gj.unroll(cell, params, xs)
gradients = jax.grad(lambda p: gj.unroll(cell, p, xs)[0].sum())(params)
h = np.zeros((2, 4))
for t in range(5):  # step by step, without a loop of the library
    h = cell.step(params, xs[:, t], jnp.asarray(h, jnp.float32))
np.testing.assert_allclose(hs[:, -1], h, atol=1e-6)
assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
try:
    gj.unroll(cell, params, xs, backend="cpu")
    refused = None
except ValueError as error:
    refused = str(error)
print(json.dumps([messages, refused]))
"""


def run(program, *args):
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def imported():
    """Returns what gru_jax's own code asks for inside JAX, and all modules that are there."""
    return run(LIGHT)


def test_nothing_private_of_jax_is_imported(imported):
    assert imported[0] == []


def test_kernels_are_imported_when_they_are_asked_for(imported):
    assert not [name for name in imported[1] if name.startswith("gru_jax.kernels")]


@pytest.mark.parametrize(
    "heavy", ["equinox", "haiku", "keras", "matplotlib", "onnx", "orbax", "tensorflow", "torch"]
)
def test_other_packages_are_imported_where_they_are_used(heavy, imported):
    assert heavy not in {name.split(".")[0] for name in imported[1]}


@pytest.mark.slow("starts a process")
@pytest.mark.parametrize(
    "missing", ["jax.interpreters.mlir.register_lowering", "jax.extend.core.Primitive"]
)
def test_without_a_part_of_jax_the_loops_run_and_say_why(missing):
    messages, refused = run(BROKEN, missing)
    assert any("what was there is gone" in message for message in messages), messages
    assert refused is not None
    assert refused.startswith("unroll: backend must be")
    assert "what was there is gone" in refused
