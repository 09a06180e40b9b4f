"""Launches of the GPU kernel suit the machine; declarations are those of NVIDIA's cuda.h."""

import re
import subprocess

import emulated_gpu
import jax
import numpy as np
import pytest
import reference

import gru_jax as gj

SIZES = {5: (64, 64), 100: (128, 128), 130: (256, 64), 300: (512, 32)}
"""The width of the kernel for a hidden_size, and the units of one block."""
SHARED = 227 * 1024


def draw(rng, batch, hidden, time=2, reset="after"):
    leaves = reference.random_params(rng, 3, hidden, reset)
    params = gj.GRUParams(*(leaf if leaf is None else leaf.astype(np.float32) for leaf in leaves))
    return params, rng.normal(size=(batch, time, 3)).astype(np.float32)


def run(params, xs, backend="cpu"):
    reset = "before" if params.b_h is None else "after"
    cell = gj.gru(params.b_r.shape[0], reset=reset)
    return jax.jit(lambda params, xs: gj.unroll(cell, params, xs, backend=backend)[0])(params, xs)


def floats(hidden, backward, rows):
    """Returns the size of a block's shared memory, counted anew from what each pass has in it."""
    width, units = SIZES[hidden]
    of_the_cluster = 6 if backward else 3  # three gates of two steps; two states and r h
    of_a_step = 7 if backward else 3
    ahead = 4  # the step that runs, and three to come
    results = 5  # four gates and the state
    of_a_unit = 3 + 2 + 1 + results + ahead * of_a_step  # sums, h_reset twice, the carry
    return rows * (of_the_cluster * width + of_a_unit * units + ahead) + 4 * units


def model(hidden, batch, backward, processors, clusters, shared):
    """Returns the launch of a pass: no cluster has more rows than another needs."""
    width, units = SIZES[hidden]
    blocks = width // units
    fit = max(rows for rows in range(batch + 1) if 4 * floats(hidden, backward, rows) <= shared)
    at_once = clusters if blocks > 1 else processors
    rounds = -(-batch // (at_once * fit))
    rows = -(-batch // (at_once * rounds))
    assert 0 < rows <= fit
    return {
        "grid": -(-batch // rows) * blocks,
        "cluster": blocks,
        "threads": 384,
        "shared": 4 * floats(hidden, backward, rows),
    }


MACHINES = {
    "H100": {"processors": 132, "clusters": 32, "shared": SHARED},
    "A100": {"processors": 108, "clusters": 8, "shared": 163 * 1024},
    "small": {"processors": 3, "clusters": 1, "shared": 48 * 1024},
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("batch", [1, 3, 132, 133, 1000, 5000])
def test_each_row_is_run_once_by_as_many_clusters_as_fit_at_once(batch, machine, emulated, rng):
    emulated.have(**MACHINES[machine])
    params, xs = draw(rng, batch, 5, time=2 if batch < 1000 else 1)
    found = np.asarray(run(params, xs))
    name, launch = emulated.last_launch
    assert name == "gru_forward_after_64"
    assert launch == model(5, batch, backward=False, **MACHINES[machine])
    h = np.zeros((batch, 5))
    for t in range(xs.shape[1]):
        *_, h = reference.gates(params, xs[:, t].astype(float), h)
        np.testing.assert_allclose(found[:, t], h, atol=2e-6)


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("hidden", SIZES)
def test_both_passes_of_every_width_are_launched_so(hidden, reset, emulated, rng):
    machine = {"processors": 8, "clusters": 3, "shared": SHARED}
    emulated.have(**machine)
    params, xs = draw(rng, 7, hidden, reset=reset)
    width, _ = SIZES[hidden]
    jax.block_until_ready(run(params, xs))
    assert emulated.last_launch == (
        f"gru_forward_{reset}_{width}",
        model(hidden, 7, backward=False, **machine),
    )
    gradient = jax.grad(lambda *args: (run(*args) ** 2).sum(), (0, 1))
    found = jax.block_until_ready(gradient(params, xs))
    assert emulated.last_launch == (
        f"gru_backward_{reset}_{width}",
        model(hidden, 7, backward=True, **machine),
    )
    # A row that ran twice would read its own gradients as gates.
    want = jax.grad(lambda *args: (run(*args, backend="xla") ** 2).sum(), (0, 1))(params, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), found, want)


def test_one_row_fits_into_the_memory_of_every_gpu_with_such_kernels():
    for hidden, (width, units) in SIZES.items():
        least = 163 if width == units else 227  # of compute capability 8.0; of 9.0, with clusters
        assert max(4 * floats(hidden, backward, 1) for backward in (False, True)) <= least * 1024


AS_IN_CUDA = """
#include <cuda.h>
#include <cstddef>
#include "declarations.h"
using namespace gru::gpu;
#define SAME_FIELD(Ours, ours, Theirs, theirs)                    \\
  static_assert(offsetof(Ours, ours) == offsetof(Theirs, theirs)); \\
  static_assert(sizeof(Ours::ours) == sizeof(Theirs::theirs))
#define SAME_START(Ours, ours, Theirs, theirs) \\
  static_assert(offsetof(Ours, ours) == offsetof(Theirs, theirs))
static_assert(sizeof(Status) == sizeof(CUresult));
static_assert(sizeof(Handle) == sizeof(CUcontext) && sizeof(int) == sizeof(CUdevice));
static_assert(sizeof(Attribute) == sizeof(CUlaunchAttribute));
static_assert(alignof(Attribute) == alignof(CUlaunchAttribute));
SAME_FIELD(Attribute, id, CUlaunchAttribute, id);
SAME_FIELD(Attribute, value, CUlaunchAttribute, value);
SAME_FIELD(Attribute, value.cluster, CUlaunchAttribute, value.clusterDim);
static_assert(sizeof(Config) == sizeof(CUlaunchConfig));
SAME_START(Config, grid, CUlaunchConfig, gridDimX);
SAME_START(Config, block, CUlaunchConfig, blockDimX);
SAME_FIELD(Config, shared, CUlaunchConfig, sharedMemBytes);
SAME_FIELD(Config, stream, CUlaunchConfig, hStream);
SAME_FIELD(Config, attributes, CUlaunchConfig, attrs);
SAME_FIELD(Config, count, CUlaunchConfig, numAttrs);
static_assert(kClusterDimension == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
static_assert(kMaxShared == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(kAnyCluster == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED);
static_assert(kProcessors == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(kMaxSharedOfABlock == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
"""


def test_the_declarations_are_those_of_cudas_header():
    headers = f"-I{emulated_gpu.KERNELS}", *emulated_gpu.cuda_headers()
    command = ["g++", "-std=c++20", "-fsyntax-only", "-x", "c++", "-", *headers]
    subprocess.run(command, input=AS_IN_CUDA, text=True, check=True)
    declared = (emulated_gpu.KERNELS / "declarations.h").read_text()
    for name in re.findall(r"\bk[A-Z]\w+", declared):
        assert name in AS_IN_CUDA
