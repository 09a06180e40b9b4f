"""The page in a browser: what it shows is what `gj.trace` says."""

import html
import json
import re
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from browser import BROWSER, OPEN, numbers, see

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
    plot.page(NET, params, xs, inputs=["a", "b", "c"], story="It counts sheep.").save(path)
    traces = jax.tree.map(lambda a: np.asarray(a[0]), gj.trace(NET, params, xs[None]))
    return path, traces, np.asarray(NET.apply(params, xs[None])[0][0]), params


def test_the_diagram_shows_the_step(net):
    path, traces, *_ = net
    t, trace = 4, traces[0]
    text = see(path, f"level=cell&t={t}&unit=1")
    columns = [numbers(part) for part in re.split(r'class="column[ "]', text)[1:]]
    order = np.arange(HIDDEN)  # all four units are shown
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


def test_a_new_state_is_a_sum_of_two_terms(net):
    path, traces, *_ = net
    z, c, before = (getattr(traces[0], name)[5, 2] for name in ("z", "c", "h_before"))
    text = see(path, "level=unit&t=5&unit=2&gate=h")
    table = text[text.index("<tbody>") : text.index("</table>")]
    *rows, total = [numbers(row) for row in table.split("<tr>")[1:]]
    expected = [[1 - z, before, (1 - z) * before], [z, c, z * c]]
    np.testing.assert_allclose(sorted(rows), sorted(expected), atol=6e-4)
    assert total[0] == pytest.approx(traces[0].h[5, 2], abs=6e-4)


def test_the_story_is_told_in_numbers_of_the_net(net):
    path, traces, *_ = net
    trace = traces[0]
    change = np.abs(trace.h - trace.h_before)
    t, unit = np.unravel_index(change.argmax(), change.shape)
    text = see(path, "chapter=5")
    assert "The new state" in text
    story = numbers(text[text.index('class="story"') :].split("<button")[0])
    expected = [trace.h_before[t, unit], trace.h[t, unit], trace.c[t, unit]]
    np.testing.assert_allclose(story, expected, atol=0.0051)
    assert "It counts sheep. It remembers 4 numbers" in see(path, "")
    assert f"step {t} (0 to {STEPS - 1})" in text  # the chapter alone goes to its place


def test_the_story_says_how_much_of_the_gradient_fades_without_gates(net, tmp_path):
    """It is the ratio of two numbers of the picture, which holds the gates at 1."""
    path = tmp_path / "page.html"
    path.write_text(net[0].read_text().replace("</body>", f"{OPEN}</body>"))
    shares = []
    for chapter in (7, 8):
        text = see(path, f"chapter={chapter}")
        table = text[text.index("<caption>∂h") :].split("</table>")[0]
        shares.append(numbers(table[table.index("<tbody>") :]))
    assert "reset gates held at 1 in cell 1; update gates held at 1 in cell 1." in text
    words = r"step (\d+), the gradient was (\d+) % of its size at step (\d+); now it is ([\d.]+) %"
    before, gated, end, plain = (float(text) for text in re.search(words, text).groups())
    before, end = int(before), int(end)
    assert 100 * shares[0][before] / shares[0][end] == pytest.approx(gated, abs=0.6)
    assert 100 * shares[1][before] / shares[1][end] == pytest.approx(plain, abs=0.15)
    assert abs(gated - plain) > 1


def test_a_gru_and_an_lstm_are_drawn_side_by_side(net, seen):
    path, traces, _, params = net
    trace = traces[0]
    change = np.abs(trace.h - trace.h_before)
    t, unit = np.unravel_index(change.argmax(), change.shape)
    values = [getattr(trace, name)[t, unit] for name in ("h_before", "r", "z", "c", "h")]
    text = see(path, "chapter=9")
    figures = text[text.index('class="comparison"') :].split("</figure>")[:2]
    gru, lstm = (html.unescape(re.search(r'aria-label="([^"]*)"', one)[1]) for one in figures)
    np.testing.assert_allclose(numbers(gru), values, atol=0.0051)
    drawn = numbers(figures[0])
    np.testing.assert_allclose(sorted(drawn), sorted(values), atol=0.0051)
    assert numbers(figures[1]) == []
    assert f"unit {unit} at step {t}." in gru
    other = gj.lstm(HIDDEN).init(jax.random.key(0), INPUT)
    for label, weights in ((gru, params[0]), (lstm, other)):
        assert f"{sum(a.size for a in jax.tree.leaves(weights))} weights and biases" in label
    for one, letters in zip(figures, ("hrzchx", "cchhfigox"), strict=True):
        boxes = re.findall(r'text-anchor="middle"[^>]*>([a-z])', one)
        assert sorted(boxes) == sorted(letters)
    *equations, counts, row = seen["tables"]["story"]
    assert [name for name, *_ in equations] == ["gates", "candidate", "memory", "output", "kept"]
    assert counts[0] == "weights and biases"
    np.testing.assert_allclose(numbers(row[1]), values, atol=0.0051)


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
    assert "step 6 (0 to 6)" in text
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


@pytest.fixture(scope="module")
def seen(net):
    """What a reader finds on the page."""
    return visit(net[0])


def test_rows_of_units_follow_their_speed(net, seen):
    trace, rows = net[1][0], seen["rows"]
    speed = np.argsort(trace.z.mean(0))
    assert speed[0] != 0
    for sort, order in {"number": np.arange(HIDDEN), "speed": speed}.items():
        names, found = [str(unit) for unit in order], rows[sort]
        tables = {name: found["tables"][name] for name in ("r", "z", "c", "h", "Δh")}
        for name, table in tables.items():
            assert [row[0] for row in table] == names, name
        np.testing.assert_allclose(read_cells(tables["r"])[:, 0], trace.r[0, order], atol=6e-4)
        np.testing.assert_allclose(read_cells(tables["z"]), 1)  # held, and still in this order
        assert found["names"] == [["a", "b", "c"], *[names] * 5, [""]]
        assert found["marks"] == [f"{100 * names.index('2') / HIDDEN:g}%"] * 5
    inputs, *units, share = zip(rows["number"]["colours"], rows["speed"]["colours"], strict=True)
    for before, after in (inputs, share):
        assert before == after
    for before, after in units:
        np.testing.assert_array_equal(
            np.reshape(before, (HIDDEN, 4))[speed], np.reshape(after, (HIDDEN, 4))
        )
    assert len(np.unique(np.reshape(units[0][0], (HIDDEN, 4)), axis=0)) == HIDDEN
    assert (rows["click"]["t"], rows["click"]["unit"]) == ("0", str(speed[0]))
    assert rows["down"]["unit"] == str(speed[1])
    assert (rows["click"]["sort"], rows["toggled"]["sort"]) == ("speed", "number")


def test_every_picture_has_its_table(net, seen):
    trace, tables = net[1][0], seen["tables"]
    cell = tables["level=cell&t=3&unit=2"]
    r, z, c, h, before, q = (
        getattr(trace, name)[3] for name in ("r", "z", "c", "h", "h_before", "q")
    )
    expected = np.transpose([before, r, r * q, c, z, (1 - z) * before, z * c, h])
    np.testing.assert_allclose(read_cells(cell["all units"]), expected, atol=6e-4)
    np.testing.assert_allclose(read_cells(cell["all inputs"])[:, 0], trace.x[3], atol=6e-4)
    assert [row[0] for row in cell["all inputs"]] == ["a", "b", "c"]
    assert [line.split()[0] for line in cell["here"]] == ["2"]
    unit = tables["level=unit&t=3&unit=2&gate=c"]
    (here,) = unit["here"]
    total, value = numbers(here)
    assert value == pytest.approx(trace.c[3, 2], abs=6e-4)
    sums = [numbers(row[0])[0] for row in unit["curve"]]
    assert total in sums
    assert len(sums) == 10
    assert sums == sorted(sums)
    np.testing.assert_allclose(read_cells(unit["curve"])[:, 0], np.tanh(sums), atol=1e-3)
    assert tables["kept"] == ["curve"]
    assert tables["left"] == 0


def read_cells(table):
    """Returns the numbers of a table, without the names of its rows."""
    return np.array([numbers(" ".join(row[1:])) for row in table])


def test_a_reader_with_keys_or_a_mouse_gets_everywhere(net, seen):
    """And axe-core finds no barrier, wide and narrow, light and dark."""
    result, drawn = seen, net[1][0]
    assert result["errors"] == []
    assert len(result["violations"]) == 20
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
