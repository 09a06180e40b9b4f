"""Cells, layers and exported programs on the kernel, and what is said of a program there."""

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from backend_cases import CELL, KEY, NORMED, PARAMS, XS, called, on_axes, run
from jax.sharding import AxisType

import gru_jax as gj
from gru_jax.layers.recurrent import Directions
from gru_jax.linen import GRU


@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_cell_with_another_function_in_it_is_not_the_kernels(reset):
    cell = gj.gru(4, reset=reset)
    params = cell.init(KEY, 3)
    doubled = cell._replace(step=lambda params, x, h: 2 * cell.step(params, x, h))
    assert not called(lambda p, xs: gj.unroll(doubled, p, xs)[0], params, XS)
    hs, _ = gj.unroll(doubled, params, XS)
    np.testing.assert_allclose(hs[:, 0], 2 * gj.unroll(cell, params, XS)[0][:, 0], rtol=1e-5)


@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_learned_initial_state_runs_on_the_kernel(reset):
    cell = gj.learned_initial_state(gj.gru(4, reset=reset))
    params = cell.init(KEY, 3)
    params = params._replace(h0=params.h0 + 0.5)

    def loss(backend):
        return lambda params: (gj.unroll(cell, params, XS, backend=backend)[0] ** 2).sum()

    assert called(loss("cpu"), params)
    got, want = (jax.grad(loss(backend))(params) for backend in ("cpu", "xla"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), got, want)


def test_layers_and_modules_take_it():
    layer = gj.bidirectional(gj.gru(4), backend="xla")
    params = layer.init(KEY, 3)
    assert isinstance(params, Directions)
    assert not called(lambda p, xs: layer.apply(p, xs)[0], params, XS)
    for backend in ("xla", "cpu"):
        module = GRU(4, backend=backend)
        variables = module.init(KEY, XS)
        assert called(lambda v, xs, m=module: m.apply(v, xs)[0], variables, XS) == (
            backend == "cpu"
        )


def test_the_gradients_norms_are_xlas_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("GRU_JAX_BACKEND", "cpu")
    norms = gj.gradient_norms(CELL, PARAMS, XS, lambda hs, _: hs.sum())
    assert norms.shape == (2, 5)
    assert np.isfinite(gj.lyapunov_exponent(KEY, CELL, PARAMS, XS)).all()


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("platforms", [["cpu"], ["cpu", "cuda", "tpu"]])
def test_an_exported_program_runs_anywhere_and_gives_the_same_numbers(reset, platforms):
    cell = gj.gru(4, reset=reset)
    params = cell.init(KEY, 3)
    mask = np.arange(5) < np.array([[5], [3]])

    def loss(params, xs):
        hs, h_last = gj.unroll(cell, params, xs, mask=mask)
        return (hs**2).sum() + h_last.sum(), hs

    program = jax.jit(jax.value_and_grad(loss, has_aux=True))
    exported = jax.export.export(program, platforms=platforms)(params, XS)
    assert "custom_call @gru_jax" not in exported.mlir_module()
    again = jax.export.deserialize(exported.serialize())
    (_, hs), _ = found = again.call(params, XS)
    want = reference.unroll(params, XS, np.zeros((2, 4)), mask)[0]
    np.testing.assert_allclose(hs, want, atol=1e-6)
    assert called(program, params, XS)
    direct = program(params, XS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), found, direct)


def without_jit():
    with jax.disable_jit():
        run(backend="cpu")(PARAMS, XS)


ASKED = jax.jit(run(backend="cpu"))


REFUSED = {
    "programs that are exported": lambda: jax.export.export(ASKED)(PARAMS, XS),
    "programs on cuda": lambda: ASKED.trace(PARAMS, XS).lower(lowering_platforms=("cuda",)),
    "what runs without jit": without_jit,
    "rows that no Explicit axis of the mesh shards": lambda: called(
        *on_axes((AxisType.Explicit,), None, backend="cpu")
    ),
    "a shard_map over some axes of a mesh": lambda: called(
        *on_axes((AxisType.Auto,) * 2, None, backend="cpu", axis_names={"a"})
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_backend_that_is_named_runs_or_the_program_is_not_made(reason):
    with pytest.raises(
        ValueError, match=f'^unroll: backend must be "auto" or "xla" for {reason}, got "cpu".'
    ):
        REFUSED[reason]()


def test_the_backend_can_be_asked_for():
    for cell in (CELL, gj.gru(4, clip=0.5)):
        assert gj.explain_backend(cell, PARAMS, XS) == (("cpu", "it can run this"),)
    assert gj.explain_backend(CELL, PARAMS, XS, zoneout=0.1) == (("xla", "zoneout"),)
    assert gj.explain_backend(CELL, PARAMS, XS, backend="xla") == (("xla", "backend says so"),)
    on_a_mesh = on_axes((AxisType.Explicit,), None)[2]
    why = "rows that no Explicit axis of the mesh shards"
    assert gj.explain_backend(CELL, PARAMS, on_a_mesh) == (("xla", why),)
    net = gj.stack(gj.bidirectional(CELL), gj.recurrent(NORMED), gj.dense(2))
    params = jax.eval_shape(lambda: net.init(KEY, 3))
    choices = gj.explain_backend(net, params, jax.ShapeDtypeStruct((1, 1, 3), jnp.float32))
    assert [str(choice) for choice in choices] == [
        "the compiled kernel",
        "the compiled kernel",
        "XLA's loops: a layer_norm_gru",
    ]
    with pytest.raises(ValueError, match=r"explain_backend: backend must be .* for zoneout"):
        gj.explain_backend(CELL, PARAMS, XS, zoneout=0.1, backend="cpu")


def test_a_choice_within_another_layer_is_seen_each_time_that_it_is_asked_for():
    inner = gj.recurrent(CELL)

    def run(params, xs, state, boundaries, key):
        return inner.apply(params, xs, state, mask=boundaries.valid, key=key)

    net = inner._replace(run=run, architecture=None)
    net.apply(PARAMS, XS)
    for _ in range(2):
        assert gj.explain_backend(net, PARAMS, XS) == (("cpu", "it can run this"),)


@pytest.mark.parametrize(
    ("sizes", "memory"),
    [("b, 5, 3", None), ("2, t, 3", None)]
    + [("b, t, 3", memory) for memory in (None, "gates", "states", "chunked")],
)
def test_a_program_is_exported_for_any_batch_and_time(sizes, memory):
    program = jax.jit(jax.grad(lambda *args: run(memory=memory)(*args).sum()))
    xs = jax.ShapeDtypeStruct(jax.export.symbolic_shape(sizes), jnp.float32)
    found = jax.export.export(program)(PARAMS, xs).call(PARAMS, XS)
    plain = jax.grad(lambda *args: run(derivative="autodiff")(*args).sum())(PARAMS, XS)
    chex.assert_trees_all_close(found, plain, atol=1e-6)


@pytest.mark.parametrize("cell", [NORMED, gj.learned_initial_state(CELL), CELL])
def test_exported_nets_take_their_parameters_and_states_and_give_their_traces(cell):
    net = gj.stack(gj.recurrent(cell), gj.dense(3), gj.pool("mean"))
    params = net.init(KEY, 3)
    both = gj.bidirectional(cell)
    programs = [
        (net.step, params, XS[:, 0], net.initial_state(params, (2, 3))),
        (lambda params, xs: gj.trace(both, params, xs), both.init(KEY, 3), XS),
    ]
    for function, *args in programs:
        program = jax.jit(function)
        exported = jax.export.export(program)(*args)
        found = jax.export.deserialize(exported.serialize()).call(*args)
        chex.assert_trees_all_close(found, program(*args), atol=1e-6)
