"""What the page shows, in which order, and its address, run by node without a browser."""

import json
import re
import subprocess
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs

import jax
import numpy as np
import pytest

import gru_jax as gj
from gru_jax import plot

pytestmark = pytest.mark.browser
WEB = resources.files("gru_jax.plot.web_page") / "web"
STEPS, INPUT = 9, 3
LARGE = gj.stack(gj.bidirectional(gj.gru(12)), gj.recurrent(gj.gru(4)), gj.dense(2))


def move(tmp_path, net, *moves):
    """Returns what the model shows at first and after each move, and the traces of its cells."""
    keys = jax.random.split(jax.random.key(0), 3)
    leaves, tree = jax.tree.flatten(net.init(keys[0], INPUT))
    noise = jax.random.split(keys[1], len(leaves))
    leaves = [a + 0.5 * jax.random.normal(k, a.shape) for a, k in zip(leaves, noise, strict=True)]
    params = jax.tree.unflatten(tree, leaves)
    xs = jax.random.normal(keys[2], (STEPS, INPUT))
    text = plot.page(net, params, xs).html
    page = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"page": page, "moves": moves, "chapters": 10}))
    command = ["node", Path(__file__).with_name("model.mjs"), str(WEB), path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    leaves = jax.tree.leaves(
        gj.trace(net, params, xs[None]), is_leaf=lambda a: isinstance(a, gj.Trace)
    )
    return json.loads(done.stdout), [a for a in leaves if isinstance(a, gj.Trace)]


def test_each_cell_has_its_units_from_slow_to_fast(tmp_path):
    moves = ["sort", True], ["go", {"cell": 1}], ["go", {"cell": 2}], ["sort", False]
    (_, *seen), traces = move(tmp_path, LARGE, *moves)
    expected = [np.argsort(trace.z[0].mean(0), kind="stable").tolist() for trace in traces]
    assert [one["order"] for one in seen[:3]] == expected
    assert expected[0] != expected[1] != sorted(expected[1])
    assert seen[3]["order"] == list(range(4))


def test_rows_stay_where_they_are_when_the_reader_changes_the_net(tmp_path):
    changes = ["setInput", 0, 3.0], ["setState", 2, 0.9], ["hold", {"z": 1, "off": [0, 1]}]
    (first, *seen), _ = move(tmp_path, LARGE, *changes)
    assert first["sorted"]
    assert all(one["order"] == first["order"] for one in seen)


def test_units_are_sorted_where_their_rows_have_no_names(tmp_path):
    moves = ["go", {"cell": 2}], ["sort", True], ["read", "#cell=2"], ["read", "#sort=number"]
    seen, _ = move(tmp_path, LARGE, *moves, ["read", "#sort=number&cell=9"], ["read", "#sort=up"])
    assert [one["sorted"] for one in seen] == [True, False, True, False, False, False, True]
    sorts = [parse_qs(one["address"][1:]).get("sort", [None])[0] for one in seen]
    assert sorts == [None, None, "speed", None, "number", "number", None]


@pytest.mark.parametrize("sort", [True, False])
def test_down_is_the_next_row(sort, tmp_path):
    begin = ["sort", sort], ["go", {"unit": 5}]
    steps = [["pass", by] for by in (1, 1, -1, 99, 1, -99)]
    (_, start, *seen), _ = move(tmp_path, LARGE, *begin, *steps)
    order = start["order"]
    at = order.index(5)
    rows = [at, at + 1, at + 2, at + 1, 11, 11, 0]
    assert [one["place"]["unit"] for one in seen] == [order[row] for row in rows]


def test_the_page_opens_where_the_gradient_comes_from_everywhere(tmp_path):
    backwards = gj.recurrent(gj.gru(4), reverse=True)
    for net, end in ((gj.gru(4), STEPS - 1), (backwards, 0)):
        (opened, again), _ = move(tmp_path, net, ["read", ""])
        assert opened["place"]["t"] == again["place"]["t"] == end
        assert np.all(np.array(opened["reach"]) > 0)


def test_from_the_end_of_a_cell_one_comes_to_the_end_of_another(tmp_path):
    moves = [["go", {"cell": i}] for i in (1, 2, 0)]
    middle = ["go", {"t": 4}], ["go", {"cell": 1}], ["go", {"cell": 0, "t": 0}], ["read", "#cell=1"]
    seen, _ = move(tmp_path, LARGE, *moves, *middle)
    last = STEPS - 1
    assert [one["place"]["t"] for one in seen] == [last, 0, last, last, 4, 4, 0, 0]


def test_the_guide_has_all_keys_of_an_address(tmp_path):
    guide = Path(__file__).parents[3] / "notebooks" / "guide" / "look_inside.md"
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\w+=[^`]*)` \|$", guide.read_text(), re.MULTILINE)
    keys, address = [key for key, _ in rows], "&".join(example for _, example in rows)
    read = re.findall(r'words\.get\(["`](\w+)', (WEB / "address.js").read_text())
    assert sorted(key.removesuffix("0") for key in keys) == sorted(read)
    (_, shown), _ = move(tmp_path, LARGE, ["read", f"#{address}"])
    assert parse_qs(shown["address"][1:]) == parse_qs(address)
    assert list(parse_qs(address)) == keys
