"""An agent: a net with memory that learns to act, by PPO.

observation -> dense -> GRU -> dense -> logits of the actions, and a value

An update is a training step: it acts in many environments and learns from what happened. Validation
and test play whole episodes, which begin from other seeds, and take the likeliest actions.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gru_jax as gj
from gru_jax import Key, Params, Row, agents
from gru_jax.app.tasks.agent_config import AgentConfig
from gru_jax.app.tasks.task import Facts, Goal, Input, Parts, Task, Training

EPISODES = 200
"""Episodes to validate with, and to test with."""
SEEDS = Parts(train=None, validation=1, test=2)
"""The data of a part are the seed of its episodes, whatever the seed of training."""
SUCCESS = 0.9
"""Share of the best mean return from which an episode counts as a success."""
UNITS = {"success": "fraction", "length": "steps"}


def make_environment(facts: Facts) -> agents.Environment:
    """Returns the environment."""
    return _make_environment(facts["env"], facts["size"])


@cache  # The same object each time, so that `jax.jit` finds it cached.
def _make_environment(name: str, size: Any) -> agents.Environment:
    if name == "tmaze":
        return agents.t_maze(size)
    return agents.repeat_previous(size) if name == "repeat_previous" else agents.cart_pole()


def learn(config: AgentConfig, _: Parts) -> Facts:
    """Returns the environment's name and size, and whether the net has memory."""
    sizes = {"tmaze": config.corridor, "repeat_previous": config.delay}
    return {"env": config.env, "size": sizes.get(config.env), "memory": config.memory == "gru"}


def goal(facts: Facts) -> Goal:
    """Returns the words of the task."""
    if facts["env"] not in ("tmaze", "repeat_previous", "cart_pole"):
        raise ValueError("its facts must have an environment")
    return Goal(
        title=f"{EPISODES} episodes of {facts['env']}",
        monitor="return",
        mode="max",
        units=UNITS,
        sample="episode",
        metrics=("success", "length"),
    )


def make_net(config: AgentConfig, facts: Facts) -> gj.Layer:
    """Builds the net: observations in, logits of the actions and a value out."""
    outputs = make_environment(facts).num_actions + 1
    return gj.stack(gj.dense(config.hidden), gj.recurrent(gj.gru(config.hidden)), gj.dense(outputs))


def make_training(
    config: AgentConfig, facts: Facts, net: gj.Layer, tx: optax.GradientTransformation
) -> Training:
    """Builds the first state and the step: an update of PPO."""
    options = agents.PPOOptions(
        environments=config.batch,
        steps=config.steps,
        epochs=config.passes,
        minibatches=config.minibatches,
        discount=config.discount,
        entropy=config.entropy,
        memory=facts["memory"],
    )
    environment = make_environment(facts)

    def start(key: Key, params: Params) -> gj.TrainState:
        return agents.init_ppo(key, environment, net, tx, options, params=params)

    return Training(start, agents.make_ppo_step(environment, net, tx, options))


def batches(config: AgentConfig, _: Any, epoch: int | None) -> Iterator[Any]:
    """Yields the numbers of an epoch's updates; for evaluation, the shape of a rollout."""
    if epoch is not None:
        yield np.arange(config.updates)
        return
    inputs = make_environment(learn(config, SEEDS)).observation_size
    xs = np.zeros((1, config.batch // config.minibatches, config.steps, inputs), np.float32)
    rows = xs.shape[:2]
    yield gj.Batch(xs, np.full(rows, config.steps), np.zeros(rows), np.ones(rows, bool))


def measure(trained: Any, seed: int) -> Row:
    """Returns the means over a part's episodes."""
    return _measure(trained.facts, _play(trained, seed, EPISODES))


def _play(trained: Any, seed: int, episodes: int) -> agents.Episodes:
    environment, memory = make_environment(trained.facts), trained.facts["memory"]
    key = jax.random.fold_in(jax.random.key(0), seed)
    return _play_compiled(environment, trained.net, trained.params, key, episodes, memory=memory)


_play_compiled = jax.jit(agents.play, static_argnums=(0, 1, 4), static_argnames="memory")


def _measure(facts: Facts, episodes: agents.Episodes) -> Row:
    enough = SUCCESS * make_environment(facts).best_return
    means = {
        "return": episodes.returns,
        "success": episodes.returns >= enough,
        "length": episodes.lengths,
    }
    return {name: float(np.mean(values)) for name, values in means.items()}


def baselines(config: AgentConfig, facts: Facts, seed: int) -> dict[str, Row]:
    """Returns random actions, the best return and, where it is known, the best without memory."""
    environment, net = make_environment(facts), make_net(config, facts)
    zeros = jax.tree.map(
        jnp.zeros_like, net.init(jax.random.key(0), environment.observation_size)
    )  # All actions are as likely.
    key = jax.random.fold_in(jax.random.key(0), seed)
    played = agents.play(environment, net, zeros, key, EPISODES, greedy=False)
    without = environment.memoryless_return
    return {
        "best_possible": {"return": environment.best_return},
        **({"best_without_memory": {"return": without}} if without is not None else {}),
        "random_actions": _measure(facts, played),
    }


def describe(config: AgentConfig, facts: Facts, _: Parts) -> dict[str, str]:
    """Returns the task, the environment, the model and PPO in words."""
    environment, size = make_environment(facts), facts["size"]
    of_size = {"tmaze": f", corridor of {size}", "repeat_previous": f", {size} steps back"}
    without = "" if facts["memory"] else ", put back to zero before each step"
    return {
        "task": f"{config.env}{of_size.get(config.env, '')}: the return of an episode is "
        f"{environment.best_return:g} at best",
        "data": f"{environment.observation_size} features observed, {environment.num_actions} "
        f"actions; {EPISODES} episodes each to validate and to test",
        "model": f"dense, GRU of {config.hidden}{without}, dense",
        "epoch": f"{config.updates} updates of PPO, each {config.passes} passes over "
        f"{config.steps} steps of {config.batch} environments in {config.minibatches} parts",
    }


def read(_: AgentConfig, __: Facts, path: Path) -> Input:
    """Raises ValueError: an agent has no use for a file."""
    raise ValueError(f"{path} must not be given to an agent, which plays its own episodes.")


def draw_episode(trained: Any, seed: int, folder: Path) -> list[Path]:
    """Draws the gates over a test episode; returns the path."""
    from matplotlib.figure import Figure

    from gru_jax import plot

    played = _play(trained, seed, 1)
    xs = played.xs[0, : int(played.lengths[0])]
    traces: Any = gj.trace(trained.net, trained.params, xs)
    (cell,) = [trace for trace in traces if trace]
    figure = Figure(figsize=(9, 6), layout="constrained")
    plot.gates(cell, figure.subplots())
    figure.suptitle(f"a test episode of {trained.facts['env']}", fontsize=10)
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "episode.png", dpi=120)
    return [folder / "episode.png"]


def _unused(*_: Any) -> Any:
    raise AssertionError("an agent learns by its own training step")


AGENT = Task(
    name="agent",
    Config=AgentConfig,
    load=lambda _: SEEDS,
    learn=learn,
    goal=goal,
    make_net=make_net,
    input_size=lambda facts: make_environment(facts).observation_size,
    loss=_unused,
    metrics=_unused,
    predict=_unused,
    describe=describe,
    read=read,
    batches=batches,
    steps=lambda config, _: config.updates,
    optimizer=lambda config, steps: gj.make_optimizer(
        config.learning_rate,
        steps=steps * config.passes * config.minibatches,
        weight_decay=config.weight_decay,
        clip_norm=0.5,
    ),
    baselines=baselines,
    figures=draw_episode,
    training=make_training,
    measure=measure,
    hidden_because="which plays its own episodes; its gates over one are in the run's figures/",
)
