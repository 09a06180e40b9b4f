"""Programs that call the GPU kernel: for CUDA without a GPU, and run on the emulated one.

Programs for TPUs, exported programs and default ones do not call it.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from kernel_problems import close, draw_sizes
from refusals import refused

import gru_jax as gj
from gru_jax.kernels import lowering
from gru_jax.kernels.gpu import compiler
from gru_jax.sequence import backends

BATCH, TIME, INPUT, HIDDEN = 4, 8, 3, 200
FORMS = ("before", "after")


def loss_of(reset, *, dtype=jnp.float32, **ways):
    """Returns a loss, and parameters and inputs for it."""
    cell = gj.gru(HIDDEN, reset=reset, dtype=dtype)
    params = cell.init(jax.random.key(0), INPUT)
    xs = jax.random.normal(jax.random.key(1), (BATCH, TIME, INPUT), dtype)

    def loss(params, xs):
        return (gj.unroll(cell, params, xs, **ways)[0] ** 2).sum()

    return loss, params, xs


@pytest.fixture
def cuda(emulated, monkeypatch):
    """The kernel, at home in programs for CUDA."""
    kernel = lowering.KERNELS["gpu"]._replace(platform="cuda")
    monkeypatch.setitem(lowering.KERNELS, "gpu", kernel)
    return emulated


def lower(platform, function, *args):
    """Returns a program for a platform as text, without the bytes of the kernel."""
    text = jax.jit(function).trace(*args).lower(lowering_platforms=(platform,)).as_text()
    return re.sub(r'dense<"0x[0-9A-F]+"', "dense<...", text)


def calls(text):
    """Returns the lines that call the kernel."""
    return [line for line in text.splitlines() if "custom_call @gru_jax" in line]


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("reset", FORMS)
def test_a_training_step_for_cuda_is_one_call_each_way(reset):
    loss, params, xs = loss_of(reset, backend="gpu")
    (call,) = calls(lower("cuda", loss, params, xs))
    assert "@gru_jax_gpu_forward" in call
    assert "keep = false" in call
    forward, backward = calls(lower("cuda", jax.grad(loss, argnums=(0, 1)), params, xs))
    steps = f"tensor<{BATCH}x{TIME}x{HIDDEN}xf32>"
    assert "@gru_jax_gpu_forward" in forward
    assert "@gru_jax_gpu_backward" in backward
    for call, way, results in ((forward, "forward", 4), (backward, "backward", 3)):
        assert f'name = "gru_{way}_{reset}_256"' in call
        assert f"after = {str(reset == 'after').lower()}" in call
        assert "time_axis = 1" in call
        assert "width = 256" in call
        assert re.search(r"image = dense<\.\.\.> : tensor<\d{5}xui8>", call)
        assert call.split(" -> ")[-1].count(steps) == results + (reset == "after")
    assert f"tensor<{BATCH}x{TIME}x{3 * HIDDEN}xf32>, tensor<3x{HIDDEN}x{HIDDEN}xf32>" in forward
    # Gradients overwrite gates, but for r where the gradient of W_c reads it.
    assert backward.count("output_operand_alias<") == (4 if reset == "after" else 2)


@pytest.mark.usefixtures("cuda")
def test_products_around_the_kernel_are_exact_unless_the_user_says_otherwise():
    loss, params, xs = loss_of("after", backend="gpu")
    step = jax.grad(loss, argnums=(0, 1))
    products = re.compile(r"dot_general.*")
    exact = products.findall(lower("cuda", step, params, xs))
    assert len(exact) == 1 + 3 + 6
    of_each = jax.vmap(jax.grad(lambda params, x: loss(params, x[None])), (None, 0))

    def slope(*at):
        return jax.jvp(loss, at, at)[1]

    for function in (of_each, slope, jax.grad(slope)):
        exact += products.findall(lower("cuda", function, params, xs))
    assert len(exact) > 30
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in exact)
    with jax.default_matmul_precision("default"):
        fast = products.findall(lower("cuda", step, params, xs))
    assert len(fast) == 1 + 3 + 6
    assert all("HIGHEST" not in line for line in fast)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(("batch", "pieces"), [(64, 1), (512, 2)])
def test_up_to_512_mib_of_states_a_step_of_training_recomputes_nothing(batch, pieces):
    cell = gj.gru(512)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 8))
    xs = jax.ShapeDtypeStruct((batch, 600, 8), jnp.float32)  # 1.2 MB of states for each row

    def loss(params, xs):
        return (gj.unroll(cell, params, xs, backend="gpu")[0] ** 2).sum()

    found = calls(lower("cuda", jax.grad(loss), params, xs))
    assert sum("@gru_jax_gpu_forward" in call for call in found) == pieces
    assert sum("@gru_jax_gpu_backward" in call for call in found) == 1


@pytest.mark.usefixtures("cuda")
def test_by_default_and_where_programs_travel_xlas_loops_run(caplog):
    caplog.set_level("DEBUG", "gru_jax")
    loss, params, xs = loss_of("after")
    assert not calls(lower("cuda", loss, params, xs))
    with jax.default_device(jax.devices("cpu")[0]):
        exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=("cuda",))(params, xs)
    assert not calls(exported.mlir_module())
    loss, params, xs = loss_of("after", backend="gpu")
    with refused(
        'unroll: backend must be "auto" or "xla" for programs that are exported, got "gpu".'
    ):
        jax.export.export(jax.jit(loss), platforms=("cuda",))(params, xs)
    with refused('unroll: backend must be "auto" or "xla" for programs on cpu, got "gpu".'):
        lower("cpu", loss, params, xs)


@pytest.mark.parametrize("platform", ["tpu", "rocm"])
def test_programs_for_tpus_and_amds_gpus_call_nothing_of_ours(platform):
    for reset in FORMS:
        loss, params, xs = loss_of(reset)
        text = lower(platform, jax.grad(loss, argnums=(0, 1)), params, xs)
        assert "stablehlo.while" in text
        assert "custom_call" not in text
    assert "custom_call" not in lower(platform, *loss_of("after", dtype=jnp.bfloat16))
    for backend, why in {"cpu": f"programs on {platform}", "gpu": "needs an NVIDIA GPU"}.items():
        with pytest.raises(ValueError, match=why):
            lower(platform, *loss_of("after", backend=backend))


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("reset", FORMS)
def test_a_pass_that_cannot_be_had_is_the_twins(reset, monkeypatch, caplog):
    """The forward pass is compiled and the backward pass is not: the results are the same."""
    caplog.set_level("DEBUG", "gru_jax")
    loss, params, xs = loss_of(reset, backend="gpu")
    kernel = lowering.KERNELS["gpu"]

    def obstacle(way, hidden, after):
        return "a reason" if way == "backward" else kernel.obstacle(way, hidden, after)

    monkeypatch.setitem(lowering.KERNELS, "gpu", kernel._replace(obstacle=obstacle))
    text = lower("cpu", jax.grad(loss), params, xs)
    assert "@gru_jax_gpu_forward" in text
    assert "@gru_jax_gpu_backward" not in text
    want = jax.grad(loss_of(reset, backend="xla")[0])(params, xs)
    close(jax.jit(jax.grad(loss))(params, xs), want)


def test_data_of_a_vmap_is_one_launch_and_each_set_of_weights_one_more(emulated, rng):
    params, xs, *_ = draw_sizes(rng, "after", 3, 4, 2, 5)
    cell = gj.gru(5, reset="after")

    def run(params, xs):
        return gj.unroll(cell, params, xs, backend="gpu")[1]

    many = np.stack([xs, 2 * xs, -xs, 0 * xs])
    jax.block_until_ready(jax.jit(jax.vmap(run, (None, 0)))(params, many))
    assert emulated.last_launch[0] == "gru_forward_after_64"
    before = emulated.launches
    found = jax.block_until_ready(jax.jit(jax.vmap(run, (None, 0)))(params, many))
    assert emulated.launches == before + 1
    np.testing.assert_array_equal(found, [run(params, one) for one in many])
    twice = jax.tree.map(lambda a: 2 * a, params)
    sets = jax.tree.map(lambda a, b: np.stack([a, b]), params, twice)
    before = emulated.launches
    found = jax.block_until_ready(jax.jit(jax.vmap(run, (0, None)))(sets, xs))
    assert emulated.launches == before + 2
    close(found, np.stack([run(params, xs), run(twice, xs)]))


@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("reset", FORMS)
def test_it_runs_inside_checkpoint_and_scan(rng, reset):
    params, xs, h0, *_ = draw_sizes(rng, reset, 2, 6, 3, 5)

    def loss(params, backend):
        run = jax.checkpoint(
            lambda params, h, x: gj.unroll(
                gj.gru(5, reset=reset), params, x, h, backend=backend, time_axis=0
            )
        )

        def piece(h, x):
            hs, h = run(params, h, x)
            return h, (hs**2).sum()

        pieces = np.swapaxes(xs, 0, 1).reshape(3, 2, 2, 3)
        return lax.scan(piece, jnp.asarray(h0), pieces)[1].sum()

    grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    close(grad(params, "gpu"), grad(params, "xla"))


def test_the_largest_state_is_the_largest_kernels():
    assert backends.GPU_HIDDEN == compiler.WIDTHS[-1]
