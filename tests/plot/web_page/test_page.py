"""The page as a file: what it holds, its size, and what it refuses."""

import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj
from gru_jax import plot
from gru_jax.plot.web_page.build import join_modules, read_source

NET = gj.stack(gj.recurrent(gj.gru(64)), gj.dense(9))
PARAMS = NET.init(jax.random.key(0), 12)
XS = np.random.default_rng(0).standard_normal((29, 12), np.float32)


def test_a_page_is_one_small_file_that_needs_no_other(tmp_path):
    page = plot.page(NET, PARAMS, XS, inputs=[f"c{i}" for i in range(12)], title="a <b> & c")
    page.save(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text == page.html
    assert len(text.encode()) < 300_000
    assert "<title>a &lt;b&gt; &amp; c</title>" in text
    assert not re.search(r"^(import|export) |@param|@typedef", text, re.MULTILINE)
    places = re.findall(r"(?:src|href)=\"?([^\" >]*)|url\(([^)]*)\)|https?://[^\s\"']*", text)
    assert {a or b for a, b in places} <= {"data:,", ""}
    assert set(re.findall(r"https?://[\w./]*", text)) == {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1998/Math/MathML",
    }
    assert not re.search(r"{{\w+}}", text)
    assert page._repr_html_().startswith("<iframe srcdoc=")


@pytest.mark.parametrize(
    ("story", "expected"), [(False, None), (True, ""), ("It counts.", "It counts.")]
)
def test_a_story_may_say_what_the_net_has_learned(story, expected):
    text = plot.page(NET, PARAMS, XS, story=story).html
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["story"] == expected


def test_names_cannot_end_the_data():
    text = plot.page(NET, PARAMS, XS, inputs=["</script><b>"] + ["x"] * 11).html
    assert "</script><b>" not in text
    assert "\\u003c/script>" in text


def test_modules_have_different_names():
    """They become one script, so a name at the top of two modules would be an error."""
    text = plot.page(NET, PARAMS, XS).html
    script = text[text.index('<script type="module">') :]
    names = re.findall(r"^(?:const|let|class|function) (?:\[[^\]]*\]|(\w+))", script, re.MULTILINE)
    assert len(names) > 30
    assert len(set(names)) == len(names)


CELL = gj.recurrent(gj.gru(5))
TOKENS = gj.stack(gj.dropout(0.1), gj.stack(gj.embed(7, 4)), CELL)
NOISY = gj.stack(gj.stack(gj.gaussian_noise(0.5)), gj.dropout(0.1), gj.residual(gj.dense(12)), CELL)


def init(net, size):
    return net.init(jax.random.key(0), size)


BAD = XS.copy()
BAD[0, 0] = np.nan
REFUSED = {
    "page: net must consist of gru, learned_initial_state, stack, residual, recurrent, "
    "bidirectional, dense, embed, pool, dropout, gaussian_noise, got lstm(4).": (
        lambda: plot.page(gj.lstm(4), gj.lstm(4).init(jax.random.key(0), 12), XS)
    ),
    "page: cells must be gru with activation='tanh' and gate_activation='sigmoid', got "
    "gru(4, activation='relu').": (
        lambda: plot.page(gj.gru(4, activation="relu"), gj.gru(4).init(jax.random.key(0), 12), XS)
    ),
    "page: cells must be gru with activation='tanh' and gate_activation='sigmoid', got lstm(4).": (
        lambda: plot.page(gj.recurrent(gj.lstm(4)), gj.lstm(4).init(jax.random.key(0), 12), XS)
    ),
    "page: zoneout must be 0, got 0.1; the page cannot show zoneout.": (
        lambda: plot.page(
            gj.recurrent(gj.gru(4), zoneout=0.1), gj.gru(4).init(jax.random.key(0), 12), XS
        )
    ),
    "page: xs must be one sequence [time, 12], got (1, 29, 12) of float32.": (
        lambda: plot.page(NET, PARAMS, XS[None])
    ),
    "page: xs must be one sequence [time, 12], got (29, 11) of float32.": (
        lambda: plot.page(NET, PARAMS, XS[:, :11])
    ),
    "page: xs must be one sequence [time, 12], got (0, 12) of float32.": (
        lambda: plot.page(NET, PARAMS, XS[:0])
    ),
    "page: xs must be one sequence of tokens [time], got (4,) of float64.": (
        lambda: plot.page(TOKENS, init(TOKENS, 7), np.ones(4))
    ),
    "page: xs must be tokens from 0 to 6, got 7.": (
        lambda: plot.page(TOKENS, init(TOKENS, 7), np.array([6, 7]))
    ),
    "page: xs must be one sequence [time, 12], got (29, 13) of float64.": (
        lambda: plot.page(NOISY, init(NOISY, 12), np.ones((29, 13)))
    ),
    "page: xs must have 2,000 steps or fewer, got 2,001.": (
        lambda: plot.page(NET, PARAMS, np.ones((2001, 12)))
    ),
    "page: net must have a gru, got stack(dropout(0.1), dense(3)).": (
        lambda: plot.page(net := gj.stack(gj.dropout(0.1), gj.dense(3)), init(net, 12), XS)
    ),
    "page: net must have a gru, got dropout(0.1).": (lambda: plot.page(gj.dropout(0.1), (), XS)),
    "page: inputs must be None, as the first GRU reads what embed makes of them, got 1 names.": (
        lambda: plot.page(TOKENS, init(TOKENS, 7), np.array([6, 5]), inputs=["token"])
    ),
    "page: inputs must be None, as the first GRU reads what dense makes of them, got 12 names.": (
        lambda: plot.page(NOISY, init(NOISY, 12), XS, inputs=["a"] * 12)
    ),
    "page: classes must be 9 names, one for each output, got 2.": (
        lambda: plot.page(NET, PARAMS, XS, classes=["a", "b"])
    ),
    "page: classes must be 64 names, one for each output, got 9.": (
        lambda: plot.page(gj.gru(64), PARAMS[0], XS, classes=["a"] * 9)
    ),
    "page: inputs must be 12 names, got 2.": lambda: plot.page(NET, PARAMS, XS, inputs=["a", "b"]),
    "page: xs must be finite, got nan or inf.": lambda: plot.page(NET, PARAMS, BAD),
    "page: params must be finite, got nan or inf.": (
        lambda: plot.page(NET, jax.tree.map(lambda a: a * jnp.inf, PARAMS), XS)
    ),
    "page: net must be built from options that can be saved, got a net without an architecture.": (
        lambda: plot.page(gj.gru(4, activation=jnp.tanh), PARAMS[0], XS)
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_the_page_cannot_run_is_refused(message):
    with refused(message):
        REFUSED[message]()


@pytest.mark.parametrize("make", [plot.page, plot.widget])
def test_a_page_has_a_largest_size(make):
    net, message = gj.gru(512), r"^page: net and xs must fit into 3,000,000 bytes, at 5.3 for each"
    with pytest.raises(ValueError, match=message):
        make(net, init(net, 12), XS)


def test_names_of_inputs_go_through_layers_that_do_nothing():
    net = gj.stack(
        gj.gaussian_noise(0.5),
        gj.stack(gj.dropout(0.1), gj.residual(gj.bidirectional(gj.gru(6)))),
        gj.pool("max"),
    )
    text = plot.page(net, init(net, 12), XS, inputs=[f"c{i}" for i in range(12)]).html
    assert '"inputs":["c0","c1",' in text


@pytest.mark.parametrize("first", [gj.gaussian_noise(0.5), gj.embed(7, 4)])
def test_the_net_may_begin_with_noise_or_dropout(first):
    """Tokens are read, and the data are those of the net alone."""
    tokens = first.architecture.builder == "embed"
    net = gj.stack(first, CELL)
    params = init(net, 7)
    xs = np.array([6, 0, 3]) if tokens else XS[:, :7]
    around = gj.stack(gj.dropout(0.1), net)
    pages = plot.page(net, params, xs).html, plot.page(around, ((), params), xs).html
    plain, other = (re.search(r'"xs":\{.*?\}', text)[0] for text in pages)
    assert plain == other
    assert f'"size":{1 if tokens else 7}}}' in plain


def test_a_widget_holds_the_same_data_and_leaves_the_notebook_alone():
    widget = plot.widget(NET, PARAMS, XS, classes=list("abcdefghi"), story=True)
    text = plot.page(NET, PARAMS, XS, classes=list("abcdefghi"), story=True).html
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert widget.data == data
    assert widget._esm.rstrip().endswith("return start(model.get('data'), el, false); } };")
    assert not re.search(r"^import ", widget._esm, re.MULTILINE)
    assert re.findall(r"^export ", widget._esm, re.MULTILINE) == ["export "]
    assert "gru" in widget._dom_classes
    assert '<body class="gru">' in text
    assert widget._css in text
    # Outside .gru { ... } there are only rules for the body of a page.
    outside = re.sub(r"^\.gru \{.*?^\}", "", widget._css, flags=re.MULTILINE | re.DOTALL)
    selectors = re.findall(r"([^{}]*)\{\s+[a-z-]+:", re.sub(r"/\*.*?\*/", "", outside))
    assert len(selectors) == 2
    assert all(one.strip().startswith(":root:has(> body.gru)") for one in selectors)


def test_without_anywidget_there_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ImportError, match=r"^plot\.widget needs anywidget: pip install "):
        plot.widget(NET, PARAMS, XS)


def test_the_page_of_the_guide_is_current():
    """Else `python notebooks/figures/make.py page` makes it again."""
    path = Path(__file__).parents[3] / "notebooks" / "figures" / "site" / "gru.html"
    text = path.read_text()
    assert join_modules() in text
    assert read_source("page.css") in text
