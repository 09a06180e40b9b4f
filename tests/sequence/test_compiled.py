"""What XLA makes of it, on a CPU: no wasted work in the loops, and how much memory a run takes."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj
from gru_jax.sequence import schedule as loop

pytestmark = pytest.mark.usefixtures("optimized")

BATCH, TIME, INPUT, HIDDEN = 4, 24, 6, 160  # Weights of a shape that nothing else has.


@pytest.fixture(params=["before", "after"])
def cell(request):
    return gj.gru(HIDDEN, reset=request.param)


def loops(function, *args):
    """Returns the text of each compiled loop's body, with the fusions that it calls."""
    text = jax.jit(function).lower(*args).compile().as_text()
    parts = {
        m.group(1): m.group()
        for m in re.finditer(r"^(?:ENTRY )?%?([\w.\-]+) [^\n]*\{\n.*?^\}", text, re.DOTALL | re.M)
    }
    bodies = set(re.findall(r"body=%?([\w.\-]+)", text))
    return [
        "\n".join([parts[b], *(parts[c] for c in re.findall(r"calls=%?([\w.\-]+)", parts[b]))])
        for b in bodies
    ]


def training_step(cell, **options):
    def loss(params, xs, weigh):
        return (weigh * gj.unroll(cell, params, xs, **options)[0]).sum()

    params = cell.init(jax.random.key(0), INPUT)
    xs, weigh = jnp.ones((BATCH, TIME, INPUT)), jnp.ones((BATCH, TIME, HIDDEN))
    return jax.grad(loss, argnums=(0, 1)), params, xs, weigh


def test_a_training_step_is_two_loops_that_copy_and_add_nothing_large(cell):
    bodies = loops(*training_step(cell, mask=jnp.ones((BATCH, TIME), bool), backend="xla"))
    assert len(bodies) == 2
    whole, weights = rf"\[{TIME},", rf"\[{HIDDEN},{HIDDEN}\]"
    for body in bodies:
        assert re.search(r" dot\(", body)
        for shape in (whole, weights):
            assert not re.search(rf"f32{shape}\S* (copy|transpose|add|select|concatenate)\(", body)


def test_the_slow_twin_would_be_found_out(cell):
    """It adds to the weights' gradients in each step: the test above can fail."""
    bodies = loops(*training_step(cell, derivative="autodiff"))
    weights = rf"\[{HIDDEN},{HIDDEN}\]|\[{INPUT + HIDDEN},{HIDDEN}\]"
    assert any(re.search(rf"f32({weights})\S* add\(", body) for body in bodies)


def test_the_backward_loop_carries_one_state_and_few_buffers(cell):
    """The step, the state's gradient, what arrives, the coefficients, the weights."""
    function, *args = training_step(cell, backend="xla")
    text = jax.jit(function).lower(*args).compile().as_text()
    carried = [
        re.findall(r"f32\[([\d,]+)\]", line.split(" while(")[0].split("=", 1)[1])
        for line in text.splitlines()
        if " while(" in line
    ]
    for shapes in carried:
        assert shapes.count(f"{BATCH},{HIDDEN}") == 1
        assert shapes.count(f"{TIME},{BATCH},{HIDDEN}") <= 6
        assert shapes.count(f"{HIDDEN},{HIDDEN}") == 3
    assert len(carried) == 2


def temporaries(time, **options):
    """Returns the bytes of temporaries in a training step on the last state; nothing is run."""
    cell, batch, hidden = gj.gru(128, reset="after"), 16, 128
    params = cell.init(jax.random.key(0), hidden)
    xs = jax.ShapeDtypeStruct((time, batch, hidden), jnp.float32)

    def loss(params, xs):
        return (gj.unroll(cell, params, xs, time_axis=0, **options)[1] ** 2).sum()

    compiled = jax.jit(jax.value_and_grad(loss)).lower(params, xs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow("compiles loops in loops")
def test_long_sequences_fit_in_little_memory():
    states = 16_384 * 16 * 128 * 4
    assert temporaries(16_384, memory="chunked", backend="xla") < 40e6
    # By itself it keeps the states alone.
    assert states < temporaries(16_384, backend="xla") < states + 40e6
    assert temporaries(16_384, memory="gates", backend="xla") > 5 * states


def test_the_kernel_takes_as_little_memory():
    states = 16_384 * 16 * 128 * 4
    assert temporaries(16_384, memory="chunked", backend="cpu") < 40e6
    assert temporaries(16_384, backend="cpu") < 40e6  # the states of a chunk
    assert temporaries(16_384, memory="gates", backend="cpu") > 5 * states


def test_a_training_step_of_the_kernel_is_two_calls_and_copies_nothing_large(cell):
    function, *args = training_step(cell, backend="cpu")
    text = jax.jit(function).lower(*args).compile().as_text()
    assert text.count('custom_call_target="gru_jax_forward"') == 1
    assert text.count('custom_call_target="gru_jax_backward"') == 1
    assert " while(" not in text
    for shape in (rf"\[{BATCH},{TIME},", rf"\[{TIME},{BATCH},", rf"\[{INPUT + HIDDEN},"):
        assert not re.search(rf"f32{shape}\S* (copy|transpose|add|concatenate|dot)\(", text)


def test_memory_grows_with_the_root_of_the_steps():
    """From where a chunk has more than 256 steps: a chunk's size."""
    small, large = (temporaries(time, memory="chunked") for time in (2**16, 2**18))
    assert large / small == pytest.approx(2, rel=0.1)


def test_backward_products_are_summed_in_float32():
    """In bfloat16 the sum of 2,000 steps would be off by a third."""
    cell, rng = gj.gru(4, reset="after"), np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape)), cell.init(jax.random.key(0), 3)
    )
    xs = jnp.asarray(1 + rng.normal(size=(2000, 3)))

    def grads(dtype, derivative):
        cell = gj.gru(4, reset="after", dtype=dtype)
        args = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, xs))

        def loss(params, xs):
            hs, _ = gj.unroll(cell, params, xs, derivative=derivative)
            return hs.astype(jnp.float32).sum()

        return jax.grad(loss)(*args).W_c.astype(jnp.float32)

    exact = grads(jnp.float32, "autodiff")
    ours, slow = (
        np.linalg.norm(grads(jnp.bfloat16, way) - exact) / np.linalg.norm(exact)
        for way in ("rule", "autodiff")
    )
    assert ours < 0.02
    assert slow > 5 * ours


@pytest.mark.slow("runs 4,211 steps four ways")
@pytest.mark.parametrize("reverse", [False, True])
def test_a_long_forward_pass_goes_in_chunks_to_the_same_states(reverse):
    """Of more features than fit in a cache, and a prime number of steps."""
    time, batch, rng = 4211, 8, np.random.default_rng(0)
    assert time * batch * 64 > loop.LARGE
    cell = gj.gru(64, reset="after")
    params = cell.init(jax.random.key(0), 3)
    xs = jnp.asarray(rng.normal(size=(time, batch, 3)), jnp.float32)
    options = {
        "mask": jnp.asarray(rng.random((time, batch)) < 0.9),
        "resets": jnp.asarray(rng.random((time, batch)) < 0.01),
        **{"key": jax.random.key(5), "recurrent_dropout": 0.2, "drop_connect": 0.1},
    }

    def run(params, **ways):
        return gj.unroll(cell, params, xs, time_axis=0, reverse=reverse, **options, **ways)

    fast = jax.jit(lambda params: run(params, memory="gates"))
    slow = run(params, derivative="autodiff", memory="gates")
    temporaries = fast.lower(params).compile().memory_analysis().temp_size_in_bytes
    assert temporaries < 3 * 4 * time * batch * 64  # the drive is never there as a whole
    chex.assert_trees_all_close(fast(params), slow, atol=1e-6)
    grads, slowly = (
        jax.grad(lambda p, ways=ways: (run(p, **ways)[0] ** 2).sum())(params)
        for ways in ({"memory": "gates"}, {"derivative": "autodiff"})
    )
    # Sums of 33,688 terms in float32, in another order.
    chex.assert_trees_all_close(grads, slowly, rtol=2e-4, atol=0.05)


@pytest.mark.parametrize("memory", ["gates", "states", "chunked"])
@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (0, 0, 3)])
def test_nothing_to_run_is_nothing_to_derive(shape, memory):
    cell = gj.gru(4)

    def loss(params, xs):
        hs, _ = gj.unroll(cell, params, xs, memory=memory)
        assert hs.shape == (*shape[:2], 4)
        return hs.sum()

    grads = jax.grad(loss, argnums=(0, 1))(cell.init(jax.random.key(0), 3), jnp.ones(shape))
    assert not any(leaf.any() for leaf in jax.tree.leaves(grads))
