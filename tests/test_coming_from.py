"""The tables of notebooks/guide/coming_from.md: every line runs, and both columns agree.

Each section has a table `| to do | their line | gru_jax's line |`. The columns run in two
namespaces, with the same random weights. If both assign a result, the two must be equal.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

PAGE = Path(__file__).parent.parent / "notebooks" / "guide" / "coming_from.md"
OPENING, *SECTIONS = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
RESULTS = {"ys", "y", "h", "h_last"}
SLOW = pytest.mark.slow("compiles a program for each line")
MARKS = {"PyTorch": pytest.mark.peers, "Flax linen": SLOW, "Keras": SLOW}


class Row(NamedTuple):
    """A task, and each library's code for it; "" where a cell has only words."""

    task: str
    theirs: str
    ours: str


def code(cell):
    is_code = re.fullmatch(r"`[^`]+`(<br>`[^`]+`)*", cell)
    return cell.replace("<br>", "\n").replace("`", "") if is_code else ""


def table(text):
    head, *rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert head == ("to do", text.partition("\n")[0], "gru_jax")
    return [Row(task, code(theirs), code(ours)) for task, theirs, ours in rows]


TABLES = {text.partition("\n")[0]: table(text) for text in SECTIONS}


def assigned(lines):
    nodes = ast.walk(ast.parse(lines))
    return {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def first_block(text):
    return re.search(r"^```py(?:thon)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL).group(1)


def namespaces(title):
    """Returns the names of both columns, after the page's first block and the section's."""
    theirs = {}
    exec(first_block(OPENING), theirs)
    exec(first_block(SECTIONS[list(TABLES).index(title)]), theirs)
    ours = dict(theirs)
    if title == "PyTorch":
        for name in ("xs", "x", "h0", "lengths"):
            theirs[name] = theirs["torch"].from_numpy(np.array(ours[name]))
    return theirs, ours


def run(title, lines, names, core=""):
    """Runs lines; Haiku's inside a transformed function, which builds its core first."""
    if title != "Haiku":
        return exec(lines, names)
    transformed = hk.transform(lambda: exec(f"{core}\n{lines}", names))
    return transformed.apply(names.get("weights", {}), jax.random.key(0))


def draw(title, params):
    """Returns random parameters, biases included; nnx has no b_h."""
    rng = np.random.default_rng(0)

    def leaf(path, a):
        scale = 0.0 if title == "Flax nnx" and path[-1].name == "b_h" else 0.5
        return jnp.asarray(rng.normal(0, scale, a.shape), a.dtype)

    return jax.tree_util.tree_map_with_path(leaf, params)


def prepare(title, build):
    """Builds a layer in both libraries; copies random weights out of gru_jax and back into it."""
    first, drawing, copy, *_ = TABLES[title]
    theirs, ours = namespaces(title)
    for row in (first, build, drawing):
        run(title, row.theirs, theirs, build.theirs)
        exec(row.ours, ours)
    (name,) = {"net", "cell"} & assigned(copy.ours)
    net, params = ours[name], draw(title, ours["params"])
    theirs |= {name: net, "params": params}
    run(title, copy.theirs, theirs, build.theirs)
    both = ours | theirs
    exec(copy.ours, both)
    assert str(both[name]) == str(net)
    jax.tree.map(np.testing.assert_array_equal, both["params"], params)
    ours |= {name: both[name], "params": both["params"]}
    return theirs, ours


def compare(row, theirs, ours):
    """Returns the names of the results that both columns assign, which must be equal."""
    names = RESULTS & assigned(row.theirs) & assigned(row.ours)
    for name in names:
        expected, actual = (jax.tree.leaves(column[name]) for column in (theirs, ours))
        for a, b in zip(actual, expected, strict=True):
            assert a.shape == b.shape
            b = np.asarray(b.detach() if hasattr(b, "detach") else b)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"{row.task}: {name}")
    return names


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=MARKS.get(title, ())) for title in TABLES]
)
@pytest.mark.usefixtures("rank_promotion")
def test_both_columns_of_a_table_compute_the_same(title):
    first, _, copy, batch, *_ = rows = TABLES[title]
    (model,) = assigned(first.theirs)
    compared = set()
    for build in rows:
        if build is copy or model not in assigned(build.theirs) or not build.ours:
            continue
        theirs, ours = prepare(title, build)
        for row in rows[3:] if build is first else [batch]:
            columns = dict(theirs), dict(ours)
            run(title, row.theirs, columns[0], build.theirs)
            exec(row.ours, columns[1])
            results = compare(row, *columns)
            assert results or not row.theirs or row.task.startswith(("stack", "run both", "drop"))
            compared |= results
    assert compared >= {"ys", "h", "h_last"}


def test_every_table_answers_the_same_questions():
    (tasks,) = {tuple(row.task for row in table) for table in TABLES.values()}
    assert len(tasks) == 14
    assert all(row.ours for table in TABLES.values() for row in table)
