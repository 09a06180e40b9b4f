"""The numbers of the page's JavaScript, run by node: those of `gj.trace`, and loops in NumPy."""

import json
import re
import subprocess
from importlib import resources
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj
from gru_jax import plot

pytestmark = pytest.mark.browser
WEB = resources.files("gru_jax.plot.web_page") / "web"
STEPS, INPUT = 9, 3
NETS = {
    "before": gj.gru(5),
    "after": gj.gru(5, reset="after"),
    "clip": gj.gru(5, clip=0.3),
    "learned": gj.learned_initial_state(gj.gru(4, reset="after")),
    "backwards": gj.recurrent(gj.gru(4), reverse=True),
    "both": gj.bidirectional(gj.gru(3), gj.gru(4, reset="after")),
    "sum": gj.bidirectional(gj.gru(4), merge="sum"),
    "stack": gj.stack(
        gj.gaussian_noise(0.5),
        gj.bidirectional(gj.gru(4)),
        gj.dropout(0.5),
        gj.recurrent(gj.gru(5, reset="after")),
        gj.residual(gj.recurrent(gj.gru(5))),
        gj.dense(2),
    ),
    "max": gj.stack(gj.recurrent(gj.gru(4)), gj.pool("max"), gj.dense(3)),
    "mean": gj.stack(gj.recurrent(gj.gru(4)), gj.pool("mean")),
    "last": gj.stack(gj.recurrent(gj.gru(4)), gj.pool("last")),
}
TOKENS = gj.stack(gj.embed(7, 4), gj.recurrent(gj.gru(5)), gj.dense(7))


def make(net, size=INPUT):
    """Returns random parameters, biases too, and a sequence."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = net.init(keys[0], size)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(keys[1], len(leaves))
    noise = [0.5 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]
    params = jax.tree.unflatten(tree, [a + b for a, b in zip(leaves, noise, strict=True)])
    return params, jax.random.normal(jax.random.key(1), (STEPS, INPUT))


def compute(tmp_path, net, params, xs, changes=None, inputs=None):
    """Returns what the page computes, with changes by cell and inputs set by step and number."""
    html = plot.page(net, params, xs).html
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"page": data, "changes": changes or {}, "inputs": inputs or {}}))
    command = ["node", Path(__file__).with_name("run.mjs"), str(WEB), path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    return np.array(result["ys"]), result["cells"]


def find_traces(traces):
    """Returns the traces of all cells, in the order in which they run."""
    if isinstance(traces, gj.Trace):
        return [traces]
    return [trace for part in traces for trace in find_traces(part)]


@pytest.mark.parametrize("name", NETS)
def test_outputs_and_traces_are_those_of_gru_jax(name, tmp_path):
    net = NETS[name]
    params, xs = make(net)
    ys, cells = compute(tmp_path, net, params, xs)
    layer = net if isinstance(net, gj.Layer) else gj.recurrent(net)
    expected = layer.apply(params, xs[None])[0]
    np.testing.assert_allclose(ys, np.atleast_2d(expected[0]), rtol=0, atol=1e-6)
    traces = find_traces(gj.trace(layer, params, xs[None]))
    for cell, trace in zip(cells, traces, strict=True):
        for gate in ("x", "r", "z", "c", "h"):
            actual, value = np.array(cell[gate]), getattr(trace, gate)[0]
            np.testing.assert_allclose(actual, value, rtol=0, atol=1e-6, err_msg=gate)
        np.testing.assert_allclose(np.array(cell["before"]), trace.h_before[0], rtol=0, atol=1e-6)


def test_a_net_of_tokens(tmp_path):
    params, _ = make(TOKENS, 7)
    xs = jnp.array([1, 0, 6, 6, 2])
    ys, _ = compute(tmp_path, TOKENS, params, xs)
    np.testing.assert_allclose(ys, TOKENS.apply(params, xs[None])[0][0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["before", "after", "clip", "learned"])
def test_gradients_are_those_of_jax(name, tmp_path):
    net = NETS[name]
    params, xs = make(net)
    _, (cell,) = compute(tmp_path, net, params, xs)
    for end in (0, 4, STEPS - 1):
        expected = gj.gradient_norms(net, params, xs, lambda hs, _, end=end: hs[end].sum())
        np.testing.assert_allclose(cell["reach"][end], expected, rtol=2e-5, atol=1e-7)


def test_gradients_of_a_cell_that_reads_backwards_reach_later_steps(tmp_path):
    net, cell = NETS["backwards"], gj.gru(4)
    params, xs = make(net)
    _, (computed,) = compute(tmp_path, net, params, xs)
    for end in (0, 4, STEPS - 1):

        def loss(hs, _, end=end):
            return hs[end].sum()

        expected = gj.gradient_norms(cell, params, xs, loss, reverse=True)
        assert not np.any(expected[:end])
        np.testing.assert_allclose(computed["reach"][end], expected, rtol=2e-5, atol=1e-7)


def step(params, x, h, change):
    """Returns the gates and the state of one step, as the page's reader has changed it."""
    p = {
        name: np.asarray(value, float)
        for name, value in params._asdict().items()
        if value is not None
    }

    def affine(name, h):
        return np.concatenate([x, h]) @ p[f"W_{name}"] + p[f"b_{name}"]

    r, z = (1 / (1 + np.exp(-affine(name, h))) for name in "rz")
    r = np.full_like(r, change["r"]) if "r" in change else r
    z = np.full_like(z, change["z"]) if "z" in change else z
    if change["reset"] == "before":
        c = np.tanh(affine("c", r * h) + p.get("b_h", 0))
    else:
        rows = p["W_c"][len(x) :]
        c = np.tanh(affine("c", 0 * h) + r * (h @ rows + p.get("b_h", 0)))
    h = (1 - z) * h + z * c
    h[change.get("off", [])] = 0
    return r, z, c, h


@pytest.mark.parametrize(
    "change",
    [{"r": 1}, {"z": 0}, {"z": 1}, {"off": [1, 3]}, {"reset": "swap"}, {"r": 0.25, "off": [0]}],
)
@pytest.mark.parametrize("reset", ["before", "after"])
def test_what_if_is_computed_as_numpy_does(reset, change, tmp_path):
    net = gj.gru(5, reset=reset)
    params, xs = make(net)
    other = {"before": "after", "after": "before"}[reset]
    change = change | {"reset": other} if change.get("reset") else change
    given = change | {"states": {4: {2: -0.5}}}
    _, (cell,) = compute(tmp_path, net, params, xs, {0: given}, {2: {1: 0.75}})
    xs, h = np.array(xs, float), np.zeros(5)
    xs[2, 1] = 0.75
    for t, x in enumerate(xs):
        *gates, h = step(params, x, h, {"reset": reset} | change)
        h[2] = -0.5 if t == 4 else h[2]
        for gate, value in zip("rzch", [*gates, h], strict=True):
            np.testing.assert_allclose(
                cell[gate][t], value, rtol=0, atol=1e-6, err_msg=f"{gate}{t}"
            )


@pytest.mark.parametrize("reset", ["before", "after"])
def test_with_open_reset_gates_both_forms_are_the_same(reset, tmp_path):
    net = gj.gru(5, reset=reset)
    params, xs = make(net)
    other = {"before": "after", "after": "before"}[reset]
    _, (one,) = compute(tmp_path, net, params, xs, {0: {"r": 1}})
    _, (two,) = compute(tmp_path, net, params, xs, {0: {"r": 1, "reset": other}})
    np.testing.assert_allclose(one["h"], two["h"], rtol=0, atol=1e-6)


FIRST = {
    "both": NETS["both"],
    "stack": NETS["stack"],
    "residual": gj.stack(gj.residual(gj.recurrent(gj.gru(INPUT))), gj.recurrent(gj.gru(4))),
    "dense": gj.stack(gj.dense(4), gj.recurrent(gj.gru(5))),
}


@pytest.mark.parametrize("name", FIRST)
def test_inputs_are_set_for_the_whole_net(name, tmp_path):
    net = FIRST[name]
    params, xs = make(net)
    given = {2: {1: 0.75}, 5: {0: -1.5, 2: 0.25}}
    ys, _ = compute(tmp_path, net, params, xs, inputs=given)
    altered = xs.at[2, 1].set(0.75).at[5, jnp.array([0, 2])].set(jnp.array([-1.5, 0.25]))
    np.testing.assert_allclose(ys, net.apply(params, altered[None])[0][0], rtol=0, atol=1e-6)


def test_a_token_is_set(tmp_path):
    params, _ = make(TOKENS, 7)
    xs = jnp.array([1, 0, 6, 6, 2])
    ys, _ = compute(tmp_path, TOKENS, params, xs, inputs={2: {0: 3}})
    expected = TOKENS.apply(params, xs.at[2].set(3)[None])[0][0]
    np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-6)


SET = {4: {1: 0.5}, 5: {0: -0.25, 3: 0.125}}


@pytest.mark.parametrize("change", [{"r": 1}, {"z": 0.5}, {"off": [1]}, {"states": SET}])
@pytest.mark.parametrize("reset", ["before", "after"])
def test_the_way_back_knows_the_changes(reset, change, tmp_path):
    """Against differences: a state of an earlier step is set a little off."""
    net = gj.gru(4, reset=reset)
    params, xs = make(net)
    _, (cell,) = compute(tmp_path, net, params, xs, {0: change})
    first, last, slopes = 3, 6, []
    for unit in range(4):
        sums = []
        for sign in (1, -1):
            nudge = {first: {unit: cell["h"][first][unit] + sign * 1e-4}}
            states = change.get("states", {}) | nudge
            _, (other,) = compute(tmp_path, net, params, xs, {0: change | {"states": states}})
            sums.append(sum(other["h"][last]))
        slopes.append((sums[0] - sums[1]) / 2e-4)
    np.testing.assert_allclose(np.linalg.norm(slopes), cell["reach"][last][first], rtol=1e-5)
