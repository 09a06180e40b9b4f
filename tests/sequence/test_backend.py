"""Who runs a recurrence: the argument, the environment, and what each can do."""

import logging

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.sharding import AxisType

import gru_jax as gj
from gru_jax.kernels.cpu import library
from gru_jax.layers.recurrent import Directions
from gru_jax.linen import GRU
from gru_jax.sequence.backends import _warn

CELL = gj.gru(4)
KEY = jax.random.key(0)
PARAMS = CELL.init(KEY, 3)
XS = jnp.ones((2, 5, 3))
NORMED = gj.layer_norm_gru(4)
HALF = gj.gru(4, dtype=jnp.float16)

ELSE = {
    "a layer_norm_gru": lambda **ways: gj.unroll(NORMED, NORMED.init(KEY, 3), XS, **ways),
    "float16 parameters": lambda **ways: gj.unroll(
        HALF, HALF.init(KEY, 3), XS.astype(jnp.float16), **ways
    ),
    'derivative="autodiff"': lambda **ways: gj.unroll(
        CELL, PARAMS, XS, derivative="autodiff", **ways
    ),
    "zoneout": lambda **ways: gj.unroll(CELL, PARAMS, XS, zoneout=0.1, **ways),
    "recurrent_dropout": lambda **ways: gj.unroll(
        CELL, PARAMS, XS, key=KEY, recurrent_dropout=0.1, **ways
    ),
}
"""What the kernel does not do."""


@pytest.fixture
def unbuilt(monkeypatch):
    jax.clear_caches()  # Programs of this process were made with a kernel.
    monkeypatch.setattr(library, "reason", lambda: "The kernel is not here.")
    yield
    jax.clear_caches()


@pytest.fixture
def messages(caplog):
    """Returns what has been logged."""
    caplog.set_level(logging.DEBUG, "gru_jax")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "gru_jax"]


def called(function, *args):
    """Returns whether the compiled program calls the kernel."""
    return "gru_jax_forward" in jax.jit(function).lower(*args).compile().as_text()


def run(**ways):
    return lambda params, xs: gj.unroll(CELL, params, xs, **ways)[0]


@pytest.mark.parametrize(("backend", "kernel"), [("auto", True), ("cpu", True), ("xla", False)])
def test_the_argument_and_the_environment_say_who_runs(backend, kernel, monkeypatch):
    assert called(run(backend=backend), PARAMS, XS) == kernel
    monkeypatch.setenv("GRU_JAX_BACKEND", backend)
    assert called(run(), PARAMS, XS) == kernel


def test_the_argument_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("GRU_JAX_BACKEND", "xla")
    assert called(run(backend="cpu"), PARAMS, XS)


@pytest.mark.parametrize("value", [None, ""])
def test_an_environment_that_says_nothing_is_auto(value, monkeypatch, messages):
    if value is None:
        monkeypatch.delenv("GRU_JAX_BACKEND", raising=False)
    else:
        monkeypatch.setenv("GRU_JAX_BACKEND", value)
    assert called(run(), PARAMS, XS)
    assert any("the compiled kernel runs" in message for message in messages())


def test_the_environment_is_read_at_each_call(monkeypatch):
    for backend in ("xla", "cpu") * 2:
        monkeypatch.setenv("GRU_JAX_BACKEND", backend)
        assert called(lambda *args: gj.unroll(CELL, *args), PARAMS, XS) == (backend == "cpu")


def on_axes(kinds, spec, backend=None, **ways):
    """Returns a program in a mesh of one device, and what it takes there."""
    names = ("a", "b")[: len(kinds)]
    mesh = jax.make_mesh((1,) * len(kinds), names, axis_types=kinds)
    sharding = jax.NamedSharding(mesh, jax.P(spec))
    program = run(backend=backend)
    if ways:
        program = jax.shard_map(program, mesh=mesh, in_specs=jax.P(), out_specs=jax.P(), **ways)
    return program, PARAMS, jax.device_put(XS, sharding)


def ensemble(params, xs):
    return jax.vmap(run(), (0, None))(jax.tree.map(lambda a: jnp.stack([a, a]), params), xs)


def curvature(params, xs):
    return jax.jvp(jax.grad(lambda xs: run()(params, xs).sum()), (xs,), (xs,))[1]


PROGRAMS = {
    "the forward pass": (lambda: (run(), PARAMS, XS), None),
    "its gradient": (lambda: (jax.grad(lambda *a: run()(*a).sum()), PARAMS, XS), None),
    "an ensemble": (lambda: (ensemble, PARAMS, XS), None),
    "a second derivative": (lambda: (curvature, PARAMS, XS), "second derivatives"),
    "no sequence": (lambda: (run(), PARAMS, XS[:0]), "arrays of no size"),
    "rows on an explicit axis": (lambda: on_axes((AxisType.Explicit,), "a"), None),
    "rows on no explicit axis": (
        lambda: on_axes((AxisType.Explicit,), None),
        "rows that no Explicit axis of the mesh parts",
    ),
    "shard_map": (lambda: on_axes((AxisType.Auto,) * 2, None, axis_names={"a", "b"}), None),
    "shard_map of some axes": (
        lambda: on_axes((AxisType.Auto,) * 2, None, axis_names={"a"}),
        "a shard_map over some axes of a mesh",
    ),
}


@pytest.mark.parametrize("what", PROGRAMS)
def test_the_log_says_once_what_a_program_runs_and_why(what, messages):
    make, why = PROGRAMS[what]
    function, *args = make()
    kernel = called(function, *args)
    assert kernel == (why is None)
    said = "the compiled kernel runs." if kernel else f"XLA's loop runs, for {why}."
    assert messages() == [f"recurrence: {said}"]


def test_the_log_says_so_of_exported_programs_other_platforms_and_without_jit(messages):
    jax.export.export(jax.jit(run()))(PARAMS, XS)
    jax.jit(run()).trace(PARAMS, XS).lower(lowering_platforms=("cuda",))
    with jax.disable_jit():
        run()(PARAMS, XS)
    whys = "programs that are exported", "programs on cuda", "what runs without jit"
    assert messages() == [f"recurrence: XLA's loop runs, for {why}." for why in whys]


@pytest.mark.parametrize("reason", ELSE)
def test_auto_goes_back_to_xla_and_says_why(reason, messages):
    ELSE[reason]()
    assert messages()[-1] == f"unroll: XLA's loops: {reason}."


def test_auto_is_xla_where_programs_run_elsewhere_by_default(messages, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not called(run(), PARAMS, XS)
    assert messages() == ["unroll: XLA's loops: programs on gpu."]
    assert called(run(backend="cpu"), PARAMS, XS)
    for device in ("cpu", jax.devices("cpu")[0]):
        with jax.default_device(device):
            assert called(run(), PARAMS, XS)


@pytest.mark.parametrize("reason", ELSE)
def test_asking_for_what_cannot_be_is_an_error(reason, monkeypatch):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the whole message is compared
        ELSE[reason](backend="cpu")
    said = f'must be "auto" or "xla" for {reason}, got "cpu".'
    assert str(error.value) == f"unroll: backend {said}"
    monkeypatch.setenv("GRU_JAX_BACKEND", "cpu")
    with pytest.raises(ValueError) as error:  # noqa: PT011
        ELSE[reason]()
    assert str(error.value) == f"unroll: the variable GRU_JAX_BACKEND {said}"


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (gj.gru(4, clip=0.5), "a gru with clip=0.5"),
        (gj.gru(4, reset="after", activation="softsign"), "a gru with activation='softsign'"),
        (
            gj.learned_initial_state(gj.gru(4, gate_activation="hard_sigmoid", clip=1)),
            "a gru with gate_activation='hard_sigmoid', clip=1",
        ),
        (gj.learned_initial_state(NORMED), "a layer_norm_gru"),
        (gj.gru(4, activation=lambda x: jnp.tanh(2 * x)), "a cell with functions of its own"),
        (CELL._replace(fast=CELL.fast._replace(gru=None)), "a cell with functions of its own"),
    ],
)
def test_a_cell_that_is_no_plain_gru_is_named(cell, kind):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        gj.unroll(cell, cell.init(KEY, 3), XS, backend="cpu")
    said = f'unroll: backend must be "auto" or "xla" for {kind}, got "cpu".'
    assert str(error.value) == said


@pytest.mark.slow("starts a process")
@pytest.mark.usefixtures("unbuilt")
def test_without_a_kernel_auto_is_xla(messages):
    assert not called(run(), PARAMS, XS)
    assert messages()[-1] == "unroll: XLA's loops: The kernel is not here."


@pytest.mark.usefixtures("unbuilt")
def test_that_there_is_no_kernel_is_a_warning_once(caplog):
    _warn.cache_clear()
    run(backend="xla")(PARAMS, XS)
    assert not caplog.records
    run()(PARAMS, XS)
    run()(PARAMS, XS)
    instead = "XLA's loops run instead; GRU_JAX_BACKEND=xla says that they are meant."
    assert [r.getMessage() for r in caplog.records] == [f"The kernel is not here. {instead}"]
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.usefixtures("unbuilt")
def test_without_a_kernel_asking_for_it_says_why_there_is_none():
    with pytest.raises(ValueError) as error:  # noqa: PT011
        gj.unroll(CELL, PARAMS, XS, backend="cpu")
    said = 'unroll: backend must be "auto" or "xla", got "cpu": The kernel is not here.'
    assert str(error.value) == said


@pytest.mark.untyped
def test_unknown_backends_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r'^unroll: backend must be "auto", "xla" or "cpu", got'):
        gj.unroll(CELL, PARAMS, XS, backend="gpu")
    monkeypatch.setenv("GRU_JAX_BACKEND", "fast")
    message = r'^trace: the variable GRU_JAX_BACKEND must be "auto", "xla" or "cpu", got \'fast\'.$'
    with pytest.raises(ValueError, match=message):
        gj.trace(CELL, PARAMS, XS)


def test_in_evaluation_recurrent_dropout_is_nothing_and_the_kernel_runs():
    assert called(run(recurrent_dropout=0.3, backend="cpu"), PARAMS, XS)


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
    "rows that no Explicit axis of the mesh parts": lambda: called(
        *on_axes((AxisType.Explicit,), None, backend="cpu")
    ),
    "a shard_map over some axes of a mesh": lambda: called(
        *on_axes((AxisType.Auto,) * 2, None, backend="cpu", axis_names={"a"})
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_backend_that_is_named_runs_or_the_program_is_not_made(reason):
    with pytest.raises(ValueError, match=f'unroll: backend must be "auto" or "xla" for {reason}'):
        REFUSED[reason]()


def test_the_backend_can_be_asked_for():
    assert gj.explain_backend(CELL, PARAMS, XS) == (("cpu", "it can run this"),)
    assert gj.explain_backend(CELL, PARAMS, XS, zoneout=0.1) == (("xla", "zoneout"),)
    assert gj.explain_backend(CELL, PARAMS, XS, backend="xla") == (("xla", "backend says so"),)
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
