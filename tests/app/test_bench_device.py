"""`gru-jax bench` on a device, with a precision, and with episodes. A CPU stands in for the GPU."""

import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contenders import EPISODES, IMAGES, SIZE, check_numbers, like_ours, ours, printed, row

import gru_jax as gj
from gru_jax.app.bench import agreement, calls, contenders, device, image_contenders, results
from gru_jax.app.bench.contenders import BOTH, CONTENDERS, OURS
from gru_jax.app.bench.measure import count_turns, measure, missing
from gru_jax.app.bench.problem import (
    DEFAULT_GPU_SIZES,
    DEFAULT_IMAGE_SIZES,
    Size,
    draw_problem,
    parse_size,
    parse_sizes,
)
from gru_jax.app.cli import main

pytestmark = pytest.mark.usefixtures("rank_promotion")


@pytest.fixture
def gpu(monkeypatch):
    """Lets the benchmark believe that JAX's device is a GPU."""
    h200 = SimpleNamespace(platform="gpu", device_kind="NVIDIA H200", compute_capability="9.0")
    monkeypatch.setattr(device, "current", lambda: h200)


@pytest.fixture
def backends(monkeypatch):
    """Returns the names of the backends that are asked for; XLA's loops run for all but "gpu"."""
    names, unroll = [], gj.unroll

    def record(*args, backend, **options):
        names.append(backend)
        if backend == "gpu":
            raise ValueError("unroll: no such kernel")
        return unroll(*args, backend="xla", **options)

    monkeypatch.setattr(gj, "unroll", record)
    return names


def ignore(*_):
    pass


def test_a_device_that_is_not_there_is_one_line(monkeypatch, capsys):
    find = jax.devices

    def devices(name=None):
        if name:
            raise RuntimeError(f"Unknown backend: '{name}' requested\nand many lines more")
        return find()

    monkeypatch.setattr(jax, "devices", devices)
    assert main(["bench", "--device", "gpu"]) == 2
    assert capsys.readouterr() == (
        "",
        "gru-jax: bench: --device must be one that JAX finds, got gpu. For an NVIDIA GPU, pip "
        "install 'jax[cuda13]<0.13'.\n",
    )


def test_a_device_holds_for_the_command_alone(monkeypatch):
    chosen = jax.devices("cpu")[0]
    monkeypatch.setattr(jax, "devices", lambda name=None: [chosen, name])
    with device.choose("cpu", "tf32"):
        assert jax.default_device.value is device.current() is chosen
        assert jax.default_matmul_precision.value is None  # On a CPU, programs stay the same.
        assert device.precision() == "highest"
    assert jax.default_device.value is None


@pytest.mark.usefixtures("gpu")
def test_a_precision_holds_for_jax_s_products_and_their_tolerance():
    products = {}
    for precision in ("highest", "tf32"):
        with device.choose(None, precision):
            assert device.precision() == precision
            products[precision] = str(jax.make_jaxpr(jnp.matmul)(np.eye(2), np.eye(2)))
            assert agreement.disagreement({"states": 1e-5}) is None
            assert (agreement.disagreement({"states": 2e-3}) is None) == (precision == "tf32")
            assert agreement.disagreement({"gradients": 1e-2})
    assert jax.default_matmul_precision.value is None
    assert "HIGHEST" in products["highest"]
    assert "HIGH" not in products["tf32"]


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_other_sizes_are_the_default():
    assert list(map(str, parse_sizes(None, False))) == list(DEFAULT_GPU_SIZES)
    assert list(map(str, parse_sizes(None, True))) == list(DEFAULT_IMAGE_SIZES)


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_ours_is_the_kernel_and_without_it_our_loops_are_compared_with(backends):
    peers = {name: CONTENDERS[name] for name in (OURS, "xla", "equinox")}
    (rows,) = measure([SIZE], peers, ["forward"], 1, ignore)
    reasons = {each.label: each.reason for each in rows}
    failed = "failed: ValueError: unroll: no such kernel"
    assert reasons.pop("gru_jax (before)") == reasons.pop("gru_jax (after)") == failed
    assert set(reasons.values()) == {None}
    assert all(each.values for each in rows if each.name != OURS)
    assert backends == ["gpu", "gpu", "xla", "xla"]


def test_elsewhere_and_for_images_gru_jax_chooses(backends, monkeypatch):
    contenders.make_gru_jax(ours("after")[0]).forward()
    monkeypatch.setattr(device, "platform", lambda: "gpu")
    image_contenders.IMAGE_CONTENDERS[OURS].make(ours("before", IMAGES)[0]).forward()
    assert backends == ["auto", "auto"]


def test_who_cannot_run_on_the_device_says_so(monkeypatch):
    torch, onnx = (CONTENDERS[name]._replace(packages={}) for name in ("torch", "onnx"))
    assert missing(torch, SIZE) is missing(onnx, SIZE) is None
    monkeypatch.setattr(device, "platform", lambda: "gpu")
    assert missing(torch, SIZE) is missing(CONTENDERS["linen"], SIZE) is None
    assert missing(onnx, SIZE) == "runs on cpu only, and JAX is on the gpu"
    monkeypatch.setattr(device, "platform", lambda: "tpu")
    assert missing(torch, SIZE) == "runs on cpu and gpu only, and JAX is on the tpu"


def test_a_size_with_resets_is_another_problem():
    assert parse_size("3,30,3,4,resets") == EPISODES != Size(3, 30, 3, 4)
    assert str(EPISODES) == "3,30,3,4,resets"
    with_resets, without = (draw_problem(Size(64, 128, 2, 3, flag), "after") for flag in (1, 0))
    assert with_resets.resets.mean() == pytest.approx(1 / 16, abs=0.01)  # 4 deviations
    assert without.resets is None
    np.testing.assert_array_equal(with_resets.weigh, without.weigh)
    assert draw_problem(IMAGES, "before").resets is None


def test_who_has_no_resets_is_left_out_with_a_reason():
    own = like_ours(BOTH)._replace(has_resets=True)
    peers = {OURS: own, "haiku": CONTENDERS["haiku"], "linen_scan": CONTENDERS["linen_scan"]}
    told = []
    (rows,) = measure([EPISODES], peers, ["forward"], 1, lambda *turn: told.append(turn[-1]))
    reasons = {each.label: each.reason for each in rows}
    assert reasons.pop("haiku (before)") == "has no resets"
    assert set(reasons.values()) == {None}
    assert len(told) == count_turns([EPISODES], peers, 1, 1) == 3 * 3
    assert count_turns([EPISODES, SIZE], peers, 1, 1) == 3 * 3 + 4 * 3
    text = printed(rows, ["forward"])
    assert "\nhaiku (before): has no resets (3,30,3,4,resets)\n" in text
    heads = r"^ +3,30, *\nbatch,time, +3,4, *\ninput,hidden +resets *$"
    assert re.search(heads, text, re.MULTILINE)


@pytest.mark.usefixtures("gpu")
def test_on_a_gpu_the_tables_say_microseconds_a_step():
    rows = [row(Size(2, 100, 3, 4), OURS, "after", 0.002, 0.002, 0.003)]
    text = printed(rows, rounds=4)
    assert "(ms (µs a step); [n]: only n rounds)" in text
    assert re.search(r"^gru_jax \(after\) +2\.0 ±0\.2 \(20\) \[3\] *$", text, re.MULTILINE)


def test_on_a_cpu_they_do_not():
    assert "µs" not in printed([row(SIZE, OURS, "after", 0.002)])


@pytest.mark.usefixtures("gpu")
def test_a_file_names_the_gpu_its_driver_and_the_precision(monkeypatch):
    report = "$ nvidia-smi\n| NVIDIA-SMI 570.1   Driver Version: 570.133.20   CUDA Version: 12.8 |"
    monkeypatch.setattr(jax, "print_environment_info", lambda _: report)
    device._driver.cache_clear()
    with device.choose(None, "tf32"):
        content = json.loads(results.dumps([row(SIZE, OURS, "after", 1.0)], 1))
    assert content["precision"] == "tf32"
    facts = ("backend", "device", "compute_capability", "driver")
    values = [content["machine"][name] for name in facts]
    assert values == ["gpu", "NVIDIA H200", "9.0", "570.133.20"]
    monkeypatch.setattr(jax, "print_environment_info", lambda _: "no such program")
    device._driver.cache_clear()
    assert "driver" not in device.facts()
    device._driver.cache_clear()


TORCH = [(contenders, SIZE, "after"), (image_contenders, IMAGES, "before")]


@pytest.mark.peers
@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("module", "size", "reset"), TORCH)
def test_on_a_gpu_pytorch_s_calls_wait_for_it(monkeypatch, module, size, reset):
    import torch

    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(None))
    monkeypatch.setattr(module, "torch_device", lambda: "cpu")
    made = module.make_torch(ours(reset, size)[0])
    made.forward()
    assert len(waits) == 1
    made.train()
    assert len(waits) == 2
    monkeypatch.setattr(module, "make_torch", lambda _: made)
    check_numbers(module.make_torch, reset, size)


@pytest.mark.peers
@pytest.mark.parametrize(("module", "size", "reset"), TORCH)
def test_all_that_pytorch_computes_with_is_on_its_device(monkeypatch, module, size, reset):
    """The device "meta" has no numbers, and refuses operands of another device, as a GPU does."""
    monkeypatch.setattr(module, "torch_device", lambda: "meta")
    made = module.make_torch(ours(reset, size)[0])
    loss, grads = made.train()
    assert {each.device.type for each in (made.forward(), loss, *grads)} == {"meta"}


@pytest.mark.peers
@pytest.mark.usefixtures("gpu")
def test_pytorch_s_products_have_the_precision(monkeypatch):
    import torch

    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [each.allow_tf32 for each in flags]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    try:
        for precision in ("tf32", "highest"):
            with device.choose(None, precision):
                assert calls.torch_device() == "cuda"
            assert [each.allow_tf32 for each in flags] == [precision == "tf32"] * 2
    finally:
        for each, value in zip(flags, before, strict=True):
            each.allow_tf32 = value
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(calls.Unavailable, match="this PyTorch finds none"):
        calls.torch_device()
