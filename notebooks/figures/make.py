"""Makes the pictures of gates in the README and the guide: `python notebooks/figures/make.py`.

It writes them beside this file and takes half a minute.

The network in them learns to say, at every step, the value at which a mark last stood.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import gru_jax as gj
from gru_jax import plot

FOLDER = Path(__file__).parent
TIME, UNITS = 16, 3


def make_batch(key, size=64):
    """Returns sequences of a value and a mark, and the values last marked."""
    key_values, key_marks = jax.random.split(key)
    values = jax.random.uniform(key_values, (size, TIME), minval=-1, maxval=1)
    marks = jax.random.bernoulli(key_marks, 0.15, (size, TIME)).at[:, 0].set(True)
    last = jax.lax.cummax(jnp.where(marks, jnp.arange(TIME), 0), axis=1)
    targets = jnp.take_along_axis(values, last, axis=1)
    return {"xs": jnp.stack([values, marks.astype(float)], -1), "targets": targets[..., None]}


def train(key):
    """Returns the trace of a trained GRU on a new sequence with four marks."""
    net = gj.stack(
        gj.recurrent(gj.gru(UNITS, update_bias_init=gj.init_chrono(1000, 100))), gj.dense(1)
    )

    def loss_fn(params, batch, key):
        ys, _ = net.apply(params, batch["xs"], key=key)
        return gj.squared_error(ys, batch["targets"]).mean(), {}

    key_params, key_data, key_new = jax.random.split(key, 3)
    tx = optax.adam(1e-2)
    loop = gj.make_train_loop(gj.make_train_step(loss_fn, tx))
    state = gj.init_train_state(key, net.init(key_params, 2), tx)
    state, metrics = loop(state, jax.vmap(make_batch)(jax.random.split(key_data, 1500)))
    print(f"mean squared error in training: {metrics['loss'][-100:].mean():.5f}")
    xs = make_batch(key_new)["xs"]
    row = int(np.flatnonzero(xs[..., 1].sum(1) == 4)[0])
    return gj.trace(net, state.params, xs[row])[0]


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
    figure.savefig(FOLDER / name, dpi=100)


if __name__ == "__main__":
    trace = train(jax.random.key(0))
    plot.save_gif(plot.animation(trace, inputs=("value", "mark")), FOLDER / "cell.gif")
    figure = Figure(figsize=(8, 5.4), layout="constrained")
    plot.gates(trace, figure.subplots(), inputs=("value", "mark"))
    save(figure, "gates.png")
    figure = Figure(figsize=(6, 3), layout="constrained")
    plot.gradient_flow(flow(), figure.subplots())
    save(figure, "gradient_flow.png")
    for path in sorted(FOLDER.glob("*.[pg][ni][gf]")):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
