"""The table of a net, read back from its text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gru_jax as gj


def parse_arrays(text):
    """Returns shape and dtype by name, from the lines of the arrays."""
    lines = text.splitlines()
    rows = lines[lines.index(next(line for line in lines if line.startswith("array "))) + 1 :]
    words = (row.replace(" x ", "x").split() for row in rows)
    return {name: (shape, dtype, count) for name, shape, dtype, count in words}


def test_a_net_is_its_builders_calls_its_size_and_its_arrays():
    inner = gj.residual(gj.recurrent(gj.gru(8, reset="after"), zoneout=0.1))
    net = gj.stack(gj.dense(8), inner, gj.dropout(0.5), gj.pool("mean"), gj.dense(2))
    params = net.init(jax.random.key(0), 3)
    text = gj.summary(net, params)
    count = (3 + 1) * 8 + 3 * (16 * 8 + 8) + 8 + (8 + 1) * 2
    assert text.splitlines()[:9] == [
        "stack",
        "├── 0 dense(8)",
        "├── 1 residual",
        "│   └── recurrent(zoneout=0.1)",
        "│       └── gru(8, reset='after')",
        "├── 2 dropout(0.5)",
        "├── 3 pool(kind='mean')",
        "└── 4 dense(2)",
        f"{count} parameters, float32, {4 * count:,} bytes",
    ]
    arrays = parse_arrays(text)
    leaves = jax.tree.leaves_with_path(params)
    assert list(arrays) == [jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in leaves]
    assert arrays["1.W_c"] == ("16x8", "float32", "128")
    assert arrays["4.b"] == ("2", "float32", "2")
    assert max(map(len, text.splitlines())) < 60


@pytest.mark.parametrize(
    ("net", "first"),
    [
        (gj.gru(4), "gru(4)"),
        (gj.gru(4, clip=0.5, activation="relu"), "gru(4, activation='relu', clip=0.5)"),
        (gj.recurrent(gj.gru(4), reverse=True), "recurrent(reverse=True)"),
        (gj.bidirectional(gj.gru(4), merge="sum"), "bidirectional(merge='sum')"),
        (gj.gru(4, activation=jnp.sin), "a net with own functions"),
    ],
)
def test_options_that_have_their_default_are_left_out(net, first):
    assert gj.summary(net, net.init(jax.random.key(0), 3)).splitlines()[0] == first


def test_dtypes_bytes_and_numbers_that_are_none():
    net = gj.stack(gj.recurrent(gj.gru(4)), gj.dense(2, dtype="float16"))
    cell, head = net.init(jax.random.key(0), 3)
    cell = cell._replace(b_r=cell.b_r.at[:2].set(jnp.array([jnp.inf, jnp.nan])))
    text = gj.summary(net, (cell, head))
    count, half = 3 * (7 * 4 + 4), 4 * 2 + 2
    size = f"{count + half} parameters, float16, float32, {4 * count + 2 * half} bytes"
    assert f"{size}\n2 parameters are infinite or not numbers\n" in text
    assert "└── 1 dense(2, dtype='float16')" in text


@pytest.mark.untyped
def test_parameters_of_numpy_and_none_at_all():
    net = gj.dense(2)
    params = jax.tree.map(np.asarray, net.init(jax.random.key(0), 5))
    assert gj.summary(net, params).splitlines()[1] == "12 parameters, float32, 48 bytes"
    assert gj.summary(gj.dropout(0.5), ()).splitlines() == [
        "dropout(0.5)",
        "0 parameters, no arrays, 0 bytes",
    ]


@pytest.mark.untyped
def test_something_else_is_refused():
    with pytest.raises(ValueError, match=r"^summary: net must be a Cell or a Layer, got a str\.$"):
        gj.summary("gru", ())
