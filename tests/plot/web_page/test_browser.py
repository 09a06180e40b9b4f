"""The page in a browser: what it shows is what `gj.trace` says."""

import json
import re
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from browser import BROWSER, numbers, see

import gru_jax as gj
from gru_jax import plot

pytestmark = pytest.mark.browser
STEPS, INPUT, HIDDEN = 7, 3, 4
NET = gj.stack(gj.recurrent(gj.gru(HIDDEN, reset="after")), gj.recurrent(gj.gru(3)), gj.dense(2))


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The path of a page, the trace of its cells, and its outputs."""
    keys = jax.random.split(jax.random.key(0), 3)
    leaves, tree = jax.tree.flatten(NET.init(keys[0], INPUT))
    noise = jax.random.split(keys[1], len(leaves))
    leaves = [a + 0.4 * jax.random.normal(k, a.shape) for a, k in zip(leaves, noise, strict=True)]
    params = jax.tree.unflatten(tree, leaves)
    xs = jax.random.normal(keys[2], (STEPS, INPUT))
    path = tmp_path_factory.mktemp("page") / "page.html"
    plot.page(NET, params, xs, inputs=["a", "b", "c"], story=True).save(path)
    traces = jax.tree.map(lambda a: np.asarray(a[0]), gj.trace(NET, params, xs[None]))
    return path, traces, np.asarray(NET.apply(params, xs[None])[0][0]), params


def test_the_diagram_shows_the_step(net):
    path, traces, *_ = net
    t, trace = 4, traces[0]
    text = see(path, f"level=cell&t={t}&unit=1")
    columns = [numbers(part) for part in re.split(r'class="column[ "]', text)[1:]]
    order = np.argsort(-trace.z.mean(0))  # all four units are shown, the quickest first
    r, z, c, h, before = (getattr(trace, name)[t] for name in ("r", "z", "c", "h", "h_before"))
    q = trace.q[t]
    expected = [before, r, r * q, c, z, (1 - z) * before, z * c, h]
    np.testing.assert_allclose(columns[0], trace.x[t], atol=0.0051)
    for column, values in zip(columns[1:], expected, strict=True):
        np.testing.assert_allclose(column[:HIDDEN], values[order], atol=0.0051)


@pytest.mark.parametrize(("gate", "curve"), [("r", "sigmoid"), ("z", "sigmoid"), ("c", "tanh")])
def test_the_sum_of_a_unit_goes_through_its_curve(gate, curve, net):
    path, traces, *_ = net
    text = see(path, f"level=unit&t=5&unit=2&cell=1&gate={gate}")
    table = text[text.index("<tbody>") : text.index("</table>")]
    *rows, total = [numbers(row) for row in table.split("<tr>")[1:]]
    assert len(rows) == HIDDEN + 3 + 1
    for weight, value, product in rows:
        assert product == pytest.approx(weight * value, abs=2e-3)
    assert total[0] == pytest.approx(sum(row[2] for row in rows), abs=1e-2)
    f = {"sigmoid": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh}[curve]
    value = getattr(traces[1], gate)[5, 2]
    assert f(total[0]) == pytest.approx(value, abs=2e-3)


def test_outputs_follow_what_is_changed(net):
    path, _, ys, params = net
    shown = see(path, "t=6")
    outputs = numbers(shown[shown.index("Outputs at step 6") :].split("</table>")[0])
    np.testing.assert_allclose(outputs, ys[6], atol=6e-4)
    changed = see(path, "t=6&z1=0&r0=1")
    outputs = numbers(changed[changed.index("Outputs at step 6") :].split("</table>")[0])
    np.testing.assert_allclose(outputs[::2], params[2].b, atol=6e-4)  # its state stays 0
    np.testing.assert_allclose(outputs[1::2], ys[6], atol=6e-4)
    assert "reset gates held at 1 in cell 1; update gates held at 0 in cell 2." in changed


def test_the_story_is_told_in_numbers_of_the_net(net):
    path, traces, _, params = net
    trace = traces[0]
    change = np.abs(trace.h - trace.h_before)
    t, unit = np.unravel_index(change.argmax(), change.shape)
    text = see(path, "chapter=5")
    assert "The new state" in text
    story = numbers(text[text.index('class="story"') :].split("<button")[0])
    expected = [trace.h_before[t, unit], trace.c[t, unit], trace.h[t, unit]]
    np.testing.assert_allclose(story, expected, atol=0.0051)
    count = sum(a.size for a in jax.tree.leaves(params[0]))
    assert f"This GRU has {count} weights and biases." in see(path, "chapter=9")


@pytest.mark.parametrize(
    "address",
    [
        "t=99&unit=-3&chapter=-1",
        "level=none&cell=7&chapter=1.5&t=0.5",
        "x=1_1_nan 1.5_0_3 9_0_1 0_3_1&off0=9_x_-1_0.5&h1=-1_0_0.5",
        "r0=7&z0=-1&reset0=after&reset1=none",
        "%%",
    ],
)
def test_a_wrong_address_is_put_right(address, net):
    text = see(net[0], address)
    assert "No changes." in text
    assert "step 0 (0 to 6)" in text
    assert "Chapter 1 of " in text
    assert text.count('<div class="map"') == 6


def test_probabilities_and_names(tmp_path):
    classes = gj.stack(gj.recurrent(gj.gru(5)), gj.pool("last"), gj.dense(3))
    params = classes.init(jax.random.key(0), INPUT)
    xs = jax.random.normal(jax.random.key(1), (STEPS, INPUT))
    names = ["one", "two", "six"]
    page = plot.page(classes, params, xs, inputs=names, classes=["a", "b", "c"])
    page.save(tmp_path / "page.html")
    text = see(tmp_path / "page.html", "level=cell")
    outputs = numbers(text[text.index("Class probabilities") :].split("</table>")[0])
    expected = jax.nn.softmax(classes.apply(params, xs[None])[0][0])
    np.testing.assert_allclose(outputs, 100 * expected, atol=0.06)
    assert [name for name in names if f"<small>{name}</small>" in text] == names
    assert "Story" not in text


def test_a_reader_with_keys_or_a_mouse_gets_everywhere(net):
    """And axe-core finds no barrier, wide and narrow, light and dark."""
    result, drawn = visit(net[0]), net[1][0]
    assert result["errors"] == []
    assert len(result["violations"]) == 16
    assert {place: lines for place, lines in result["violations"].items() if lines} == {}
    places, last = result["places"], str(STEPS - 1)
    keys = {"level": "unit", "cell": "0", "t": "3", "unit": "2", "gate": "c"}
    assert places["keys"] == keys
    assert places["escape"] == keys | {"level": "cell"}
    assert (places["click"]["t"], places["click"]["unit"]) == (last, str(HIDDEN - 1))
    assert places["slider"]["t"] == last
    step, number, value = places["drag"].pop("x").split("_")
    scale = np.abs(drawn.x).max()
    assert (step, number) == ("2", "0")
    assert float(value) == pytest.approx(min(drawn.x[2, 0] + 0.3 * scale, scale), rel=1e-4)
    assert places["again"].pop("x") == f"2_0_{value}"
    assert places["again"] == places["undone"] == places["drag"]
    assert places["tremble"].keys() == keys.keys()  # nothing is set
    assert (places["tremble"]["level"], places["tremble"]["gate"]) == ("unit", "h")
    edited = {"t": "4", "cell": "1", "r0": "1", "z1": "0"}
    assert edited.items() <= places["edited"].items()
    assert places["frame"] == f"step 1 (0 to {last})"
    (shown, cells), name, t = result["kept"]["table"]
    assert (shown, cells, name, t) == (True, STEPS * INPUT, "numbers", "3")
    assert result["kept"]["tab"] == ["ct candidate", "c"]


def test_a_page_without_a_story_has_no_barrier(tmp_path):
    cell = gj.gru(12)
    params, xs = cell.init(jax.random.key(0), 2), np.ones((4, 2), np.float32)
    plot.page(cell, params, xs).save(tmp_path / "page.html")
    result = visit(tmp_path / "page.html")
    assert result["errors"] == []
    assert {place: lines for place, lines in result["violations"].items() if lines} == {}


def visit(path):
    """Returns what a reader finds on a page."""
    script = Path(__file__).with_name("visit.mjs")
    done = subprocess.run(["node", script, BROWSER, path], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr}: `just page-test` installs what it needs"
    return json.loads(done.stdout)
