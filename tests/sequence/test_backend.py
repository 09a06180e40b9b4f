"""Who runs a recurrence: the argument, the environment, and what each can do."""

import logging

import jax
import jax.export
import jax.numpy as jnp
import pytest
from backend_cases import CELL, KEY, NORMED, PARAMS, XS, called, on_axes, run
from jax.sharding import AxisType
from refusals import refused

import gru_jax as gj
from gru_jax.kernels.cpu import library
from gru_jax.sequence.choice import _warn

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
    "rows that no Explicit axis of the mesh shards": lambda **ways: gj.unroll(
        CELL, PARAMS, on_axes((AxisType.Explicit,), None)[2], **ways
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
    said = f'must be "auto" or "xla" for {reason}, got "cpu".'
    with refused(f"unroll: backend {said}"):
        ELSE[reason](backend="cpu")
    monkeypatch.setenv("GRU_JAX_BACKEND", "cpu")
    with refused(f"unroll: the variable GRU_JAX_BACKEND {said}"):
        ELSE[reason]()


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (gj.gru(4, reset="after", activation="softsign"), "a gru with activation='softsign'"),
        (
            gj.learned_initial_state(gj.gru(4, gate_activation="hard_sigmoid", clip=1)),
            "a gru with gate_activation='hard_sigmoid'",
        ),
        (gj.learned_initial_state(NORMED), "a layer_norm_gru"),
        (gj.gru(4, activation=lambda x: jnp.tanh(2 * x)), "a cell with functions of its own"),
        (CELL._replace(fast=CELL.fast._replace(gru=None)), "a cell with functions of its own"),
    ],
)
def test_a_cell_that_is_no_plain_gru_is_named(cell, kind):
    said = f'unroll: backend must be "auto" or "xla" for {kind}, got "cpu".'
    with refused(said):
        gj.unroll(cell, cell.init(KEY, 3), XS, backend="cpu")


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
    said = 'unroll: backend must be "auto" or "xla", got "cpu": The kernel is not here.'
    with refused(said):
        gj.unroll(CELL, PARAMS, XS, backend="cpu")


@pytest.mark.untyped
def test_unknown_backends_are_refused(monkeypatch):
    with pytest.raises(
        ValueError, match=r'^unroll: backend must be "auto", "xla", "scan", "cpu" or "gpu", got'
    ):
        gj.unroll(CELL, PARAMS, XS, backend="tpu")
    monkeypatch.setenv("GRU_JAX_BACKEND", "fast")
    names = '"auto", "xla", "scan", "cpu" or "gpu"'
    message = rf"^trace: the variable GRU_JAX_BACKEND must be {names}, got 'fast'.$"
    with pytest.raises(ValueError, match=message):
        gj.trace(CELL, PARAMS, XS)


def test_in_evaluation_recurrent_dropout_is_nothing_and_the_kernel_runs():
    assert called(run(recurrent_dropout=0.3, backend="cpu"), PARAMS, XS)
