"""Writes the table of PPO's speed on the page "Episodes": `python notebooks/figures/agent.py`.

    --measure   first times an update of the same agent with each GRU, interleaved, and writes
                agent.json. Takes two minutes.

The agents differ in their recurrent layer alone. Flax's is `GRUCell` in `nn.scan`, with resets, as
code for reinforcement learning has it.
"""

import functools
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from page_table import write_table

import gru_jax as gj
from gru_jax import agents
from gru_jax.agents import ppo
from gru_jax.app.bench.results import machine, versions

FIGURES = Path(__file__).parent / "agent.json"
PAGE = Path(__file__).parent.parent / "guide" / "episodes.md"
START = "| 64 environments, 128 steps |"
SIZES = 64, 128
ROUNDS, UPDATES = 11, 5
MAZE = agents.t_maze(20)
OPTIONS = agents.PPOOptions()
TX = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-3))
NAMES = {
    "gru_jax": "gru_jax",
    "xla": "gru_jax without its kernel (XLA)",
    "flax": "Flax's `GRUCell` in `nn.scan`",
}


class ScannedCell(nn.Module):
    """Flax's cell over time, the first axis; a reset puts the state back to zero."""

    features: int

    @functools.partial(
        nn.scan, variable_broadcast="params", in_axes=0, out_axes=0, split_rngs={"params": False}
    )
    @nn.compact
    def __call__(self, h, step):
        """Runs one step."""
        x, resets = step
        return nn.GRUCell(self.features)(jnp.where(resets[:, None], 0, h), x)


def make_flax_layer(size):
    """Returns a layer that runs Flax's cell."""
    module = ScannedCell(size)

    def init(key, input_size):
        one = jnp.zeros((1, 1, input_size)), jnp.zeros((1, 1), bool)
        return module.init(key, jnp.zeros((1, size)), one)

    def run(params, xs, state, boundaries, _):
        steps = xs.swapaxes(0, 1), boundaries.resets.swapaxes(0, 1)
        last, ys = module.apply(params, state, steps)
        return ys.swapaxes(0, 1), last

    def advance(params, x, state, boundaries):
        resets = boundaries.resets
        resets = jnp.zeros(len(x), bool) if resets is None else resets
        state, ys = module.apply(params, state, (x[None], resets[None]))
        return ys[0], state

    return gj.Layer(
        init,
        lambda _: size,
        run,
        lambda _, x_shape: jnp.zeros((*x_shape[:-1], size)),
        advance,
    )


def make_net(name, size):
    """Returns the agent's net with one of the GRUs."""
    backend = "xla" if name == "xla" else "auto"
    cell = gj.gru(size, reset="after")
    layer = make_flax_layer(size) if name == "flax" else gj.recurrent(cell, backend=backend)
    return gj.stack(gj.dense(size), layer, gj.dense(MAZE.num_actions + 1))


def build(name, size):
    """Returns functions of no arguments: some updates, and as many rollouts."""
    net = make_net(name, size)
    step = agents.make_ppo_step(MAZE, net, TX, OPTIONS)
    state = agents.init_ppo(jax.random.key(0), MAZE, net, TX, OPTIONS)

    @jax.jit
    def update(state):
        return jax.lax.scan(step, state, jnp.arange(UPDATES))[0]

    @jax.jit
    def act(state):
        def once(acting, key):
            return ppo.roll_out(MAZE, net, state.params, acting, key, OPTIONS)

        return jax.lax.scan(once, state.carry, jax.random.split(jax.random.key(1), UPDATES))

    return {"update": lambda: update(state), "act": lambda: act(state)}


def measure():
    """Returns milliseconds of an update, and of its acting, for each GRU and size."""
    rows = []
    for size in SIZES:
        calls = {(n, part): f for n in NAMES for part, f in build(n, size).items()}
        seconds = {key: [] for key in calls}
        for number in range(-1, ROUNDS):
            for key, call in calls.items():
                start = time.perf_counter()
                jax.block_until_ready(call())
                if number >= 0:
                    seconds[key].append((time.perf_counter() - start) / UPDATES)
        rows += [
            {"gru": name, "size": size, "part": part, "seconds": taken}
            for (name, part), taken in seconds.items()
        ]
    return rows


def table(content):
    """Returns the lines of the table: medians, and quartiles in brackets."""
    heads = [f"{size} features: {part}" for size in SIZES for part in ("update, ms", "acting, ms")]
    lines = [f"{START} {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, words in NAMES.items():
        cells = []
        for size in SIZES:
            for part in ("update", "act"):
                (row,) = [
                    row
                    for row in content["rows"]
                    if (row["gru"], row["size"], row["part"]) == (name, size, part)
                ]
                low, middle, high = 1e3 * np.quantile(row["seconds"], (0.25, 0.5, 0.75))
                cells.append(f"{middle:.0f} ({low:.0f} to {high:.0f})")
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    if "--measure" in sys.argv:
        content = {"machine": machine(), "versions": versions(), "rows": measure()}
        FIGURES.write_text(json.dumps(content, indent=1) + "\n")
    write_table(PAGE, START, table(json.loads(FIGURES.read_text())))
