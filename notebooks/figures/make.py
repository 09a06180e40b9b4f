"""Makes the pictures of gates in the README and the guide: `python notebooks/figures/make.py`.

It writes them beside this file, and a web page to site/gru.html. It takes a minute;
`python notebooks/figures/make.py page` writes the page alone.

The network in them learns to say, at every step, the value at which a mark last stood.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import gru_jax as gj
from gru_jax import plot

FOLDER = Path(__file__).parent
PICTURES = "cell.gif", "gates.png", "gradient_flow.png"
TIME, UNITS = 16, 3
TASK = (
    "Where the mark is 1, it should store the value. Where the mark is 0, it should keep what it "
    "has stored. Its output should be the stored value."
)
PAUSES = [5, 6, 7]
"""The only steps of the pictures without a mark; values are drawn."""


def remember(values, marks):
    """Returns the inputs, a value and a mark, and the targets, the values last marked."""
    last = jax.lax.cummax(jnp.where(marks, jnp.arange(TIME), 0), axis=1)
    targets = jnp.take_along_axis(values, last, axis=1)
    return jnp.stack([values, marks.astype(float)], -1), targets[..., None]


def make_batch(key, size=64):
    """Returns sequences of random values; each but the first has a mark with probability 0.5."""
    key_values, key_marks = jax.random.split(key)
    values = jax.random.uniform(key_values, (size, TIME), minval=-1, maxval=1)
    marks = jax.random.bernoulli(key_marks, 0.5, (size, TIME)).at[:, 0].set(True)
    return remember(values, marks)


def train(key, steps=3000):
    """Returns a network and its trained parameters."""
    net = gj.stack(
        gj.recurrent(gj.gru(UNITS, update_bias_init=gj.init_chrono(1000, 100))), gj.dense(1)
    )

    def loss_fn(params, batch, key):
        xs, targets = batch
        ys, _ = net.apply(params, xs, key=key)
        # Without the second term one unit remembers alone, in a small part of its range.
        return gj.squared_error(ys, targets).mean() + 0.01 * (params[1].W ** 2).sum(), {}

    key_params, key_data = jax.random.split(key)
    tx = optax.adam(1e-2)
    loop = gj.make_train_loop(gj.make_train_step(loss_fn, tx))
    state = gj.init_train_state(key, net.init(key_params, 2), tx)
    state, _ = loop(state, jax.vmap(make_batch)(jax.random.split(key_data, steps)))
    return net, state.params


def look(net, params, key):
    """Returns the trace of a sequence of new values, its target and the output; prints measures."""
    marks = np.isin(np.arange(TIME), PAUSES, invert=True)
    values = jax.random.uniform(key, (1, TIME), minval=-1, maxval=1)
    xs, targets = remember(values, marks[None])
    outputs, _ = net.apply(params, xs)
    trace = gj.trace(net, params, xs[0])[0]
    series = {"target": targets[0, :, 0], "output": outputs[0, :, 0]}
    states = np.abs(trace.h - trace.h_before).max(-1)
    answers = np.abs(np.diff(series["output"], prepend=0))
    for name, change in {"state of some unit": states, "output": answers}.items():
        moving = int((change > 0.05).sum())
        print(f"frames that change the {name} by more than 0.05: {moving} of {TIME}")
        assert moving > TIME / 2
    print(f"mean squared error in the pictures: {gj.squared_error(outputs, targets).mean():.5f}")
    for name, steps in {"at marks": marks, "between them": ~marks}.items():
        print(
            f"mean update gate of each unit {name}: {np.asarray(trace.z)[steps].mean(0).round(2)}"
        )
    return trace, series


def flow(steps=400):
    """Returns gradient norms before training: biases of zero, and those of `init_chrono`."""
    xs = jax.random.normal(jax.random.key(1), (steps, 8))
    starts = {"bias 0": None, f"init_chrono({steps})": gj.init_chrono(steps)}
    norms = {}
    for label, start in starts.items():
        cell = gj.gru(64, **({"update_bias_init": start} if start else {}))
        params = cell.init(jax.random.key(0), 8)
        norms[label] = gj.gradient_norms(cell, params, xs, lambda _, h_last: h_last.sum())
    return norms


def save(figure, name):
    figure.savefig(FOLDER / name, dpi=150)


def draw(trace, series):
    """Makes the pictures."""
    ax = Figure(figsize=(9, 5.35)).add_axes((0, 0.07, 1, 0.93))
    moving = plot.animation(trace, ax, inputs=("value", "mark"), series=series)
    plot.save_gif(moving, FOLDER / "cell.gif", dpi=125, poster=True)
    figure = Figure(figsize=(7.5, 5.4), layout="constrained")
    plot.gates(trace, figure.subplots(), inputs=("value", "mark"))
    save(figure, "gates.png")
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    plot.gradient_flow(flow(), figure.subplots())
    save(figure, "gradient_flow.png")


if __name__ == "__main__":
    key, key_new = jax.random.split(jax.random.key(0))
    net, params = train(key)
    xs, targets = make_batch(key_new, 4096)
    error = gj.squared_error(net.apply(params, xs)[0], targets).mean()
    print(f"mean squared error over 4096 new sequences: {error:.5f}")
    trace, series = look(net, params, key_new)
    if sys.argv[1:] != ["page"]:
        draw(trace, series)
    title = "A GRU that remembers the marked value"
    page = plot.page(net, params, trace.x, inputs=("value", "mark"), title=title, story=TASK)
    page.save(FOLDER / "site" / "gru.html")
    for path in (FOLDER / name for name in (*PICTURES, "site/gru.html")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
