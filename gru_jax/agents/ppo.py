"""Recurrent PPO: one update is a rollout of many environments, then several epochs over it.

    `lax.scan` over single steps       rollout: x, begins, action, log p, value, reward, done
    a reverse `lax.scan`               advantage_t = delta_t + discount * decay * advantage_{t+1}
                                       delta_t     = reward_t + discount * value_{t+1} - value_t
    net.apply over whole rollouts      ratio_t = p(action_t) / p_old(action_t)
                                       loss = -min(ratio A, clip(ratio) A) + value - entropy

`begins` of a step in acting is `resets` of the same step in learning: both read the same states, so
that before the first update each ratio is 1. Minibatches are environments, never pieces of time.

References:
    Schulman et al. (2017), "Proximal policy optimization algorithms", equations 7, 9, 11.
    Schulman et al. (2016), "High-dimensional continuous control using generalized advantage
    estimation", equation 16.
    Pardo et al. (2018), "Time limits in reinforcement learning", for truncated episodes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from gru_jax.agents.environment import Environment, choose
from gru_jax.layers.layer import Layer
from gru_jax.ops.checks import check_count
from gru_jax.training.checks import check_optimizer
from gru_jax.training.step import Metrics, TrainState, TrainStep, init_train_state
from gru_jax.types import Key, Params, State


class PPOOptions(NamedTuple):
    """The settings of PPO.

    Attributes:
        environments: how many run at once.
        steps: of a rollout in each of them.
        epochs: passes over a rollout.
        minibatches: parts of the environments; each is one gradient step.
        discount: of a reward for each step that it is later.
        decay: of the advantage estimate, GAE's lambda.
        clip: the largest change of a probability's ratio that earns anything.
        entropy: weight of the policy's entropy in the loss.
        value: weight of the value's squared error.
        memory: False begins an episode at each step, as the net sees it: the same net, without
            memory.
    """

    environments: int = 64
    steps: int = 128
    epochs: int = 4
    minibatches: int = 4
    discount: float = 0.99
    decay: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    memory: bool = True


class Acting(NamedTuple):
    """What acting carries from step to step, for each environment: `TrainState.carry`."""

    states: Any
    xs: Float[Array, "environment observation"]
    begins: Bool[Array, " environment"]
    """Whether `xs` is the first observation of an episode."""
    memory: State
    """The state of the net."""
    total: Float[Array, " environment"]
    """The rewards of the current episode so far."""
    length: Int[Array, " environment"]
    last_return: Float[Array, " environment"]
    """The return of the last whole episode; 0 before the first."""
    last_length: Int[Array, " environment"]


class Rollout(NamedTuple):
    """A rollout, [time, environment, ...] from acting, [environment, time, ...] for learning."""

    xs: Array
    begins: Array
    actions: Array
    log_probs: Array
    """Of the actions, under the policy that took them."""
    values: Array
    rewards: Array
    done: Array
    """Whether the episode ended with this step, terminated or truncated."""
    final_values: Array
    """The value of what would have followed a truncated episode; 0 elsewhere."""


def init_ppo(
    key: Key,
    environment: Environment,
    net: Layer,
    tx: optax.GradientTransformation,
    options: PPOOptions,
    *,
    params: Params | None = None,
) -> TrainState:
    """Returns the state before the first update.

    Args:
        key: draws the parameters, the first episodes, and all that training draws.
        environment: what to act in.
        net: observations in; logits of the actions and one value out, `num_actions + 1` features.
        tx: the optimiser.
        options: the settings.
        params: to begin with; None draws them.

    Raises:
        ValueError: if the net does not have `num_actions + 1` outputs, or an option is out of
            range.
    """
    _check(environment, net, options)
    key_params, key_reset, key_train = jax.random.split(key, 3)
    if params is None:
        params = net.init(key_params, environment.observation_size)
    count = options.environments
    states, xs = jax.vmap(environment.reset)(jax.random.split(key_reset, count))
    zeros, whole = jnp.zeros(count), jnp.zeros(count, jnp.int32)
    flags, memory = jnp.ones(count, bool), net.initial_state(params, xs.shape)
    carry = Acting(states, xs, flags, memory, zeros, whole, zeros, whole)
    return init_train_state(key_train, params, tx, carry)


def make_ppo_step(
    environment: Environment,
    net: Layer,
    tx: optax.GradientTransformation,
    options: PPOOptions,
) -> TrainStep:
    """Builds `step(state, batch) -> (state, metrics)`, one update; it ignores the batch.

    With `make_train_loop`, `jnp.arange(100)` in place of batches is 100 updates. The metrics are
    `loss`, `return` and `length` (means over the environments' last whole episodes), `entropy` and
    `kl` (from the acting policy; nats), `clipped` (share of the ratios) and `finite`. If a loss or
    a parameter is not finite, the update changes nothing.

    Args:
        environment: what to act in.
        net: as in `init_ppo`.
        tx: the optimiser; an update has `epochs * minibatches` of its steps.
        options: the settings.

    Raises:
        ValueError: as `init_ppo` does.
    """
    check_optimizer("make_ppo_step", tx)
    _check(environment, net, options)

    def learn(carry: Any, part: Any) -> Any:
        params, opt_state, finite = carry
        grad = jax.value_and_grad(lambda params: _loss(net, options, params, *part), has_aux=True)
        (loss, metrics), grads = grad(params)
        with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it.
            updates, opt_state = tx.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
        for leaf in [loss, *jax.tree.leaves(params)]:
            finite &= jnp.isfinite(leaf).all()
        return (params, opt_state, finite), {"loss": loss, **metrics}

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        del batch
        key_act, key_learn = jax.random.split(jax.random.fold_in(state.key, state.step))
        start, params = state.carry, state.params
        acting, rollout = roll_out(environment, net, params, start, key_act, options)
        values = _look(net, params, acting, options)[0][:, -1]
        advantages = estimate_advantages(rollout, values, options.discount, options.decay)
        batched = jax.tree.map(lambda a: a.swapaxes(0, 1), (rollout, advantages))

        def epoch(carry: Any, key: Key) -> Any:
            rows = jax.random.permutation(key, options.environments)
            rows = rows.reshape(options.minibatches, -1)
            parts = jax.tree.map(lambda a: a[rows], (start.memory, *batched))
            return jax.lax.scan(learn, carry, parts)

        carry = params, state.opt_state, jnp.asarray(True)
        keys = jax.random.split(key_learn, options.epochs)
        (params, opt_state, finite), metrics = jax.lax.scan(epoch, carry, keys)
        moved = TrainState(params, opt_state, state.step + 1, state.key, acting)
        metrics |= {"return": acting.last_return, "length": acting.last_length}
        means = {name: value.mean() for name, value in metrics.items()}
        return optax.tree.where(finite, moved, state), {**means, "finite": finite}

    return step


def roll_out(
    environment: Environment,
    net: Layer,
    params: Params,
    acting: Acting,
    key: Key,
    options: PPOOptions,
) -> tuple[Acting, Rollout]:
    """Acts for `steps` steps in all environments; returns where they are, and what happened."""

    def act(acting: Acting, key: Key) -> tuple[Acting, Rollout]:
        key_action, *others = jax.random.split(key, 3)
        keys = [jax.random.split(key, options.environments) for key in others]
        outputs, memory, begins = _look(net, params, acting, options)
        logits, values = outputs[:, :-1], outputs[:, -1]
        actions = jax.random.categorical(key_action, logits)
        result = jax.vmap(environment.step)(keys[0], acting.states, actions)
        done = result.terminated | result.truncated
        fresh = jax.vmap(environment.reset)(keys[1])
        states, xs = choose(done, fresh, (result.state, result.x))
        after = Acting(result.state, result.x, jnp.zeros_like(done), memory, *acting[4:])
        final_values = jax.lax.cond(
            result.truncated.any(),
            lambda: jnp.where(result.truncated, _look(net, params, after, options)[0][:, -1], 0),
            lambda: jnp.zeros_like(values),
        )
        total, length = acting.total + result.reward, acting.length + 1
        policy = begins, actions, _log_prob(logits, actions), values
        rollout = Rollout(acting.xs, *policy, result.reward, done, final_values)
        counts = choose(done, (jnp.zeros_like(total), jnp.zeros_like(length)), (total, length))
        last = choose(done, (total, length), (acting.last_return, acting.last_length))
        return Acting(states, xs, done, memory, *counts, *last), rollout

    return jax.lax.scan(act, acting, jax.random.split(key, options.steps))


def estimate_advantages(
    rollout: Rollout, values: Float[Array, " environment"], discount: float, decay: float
) -> Float[Array, "time environment"]:
    """Returns the advantage of each action (GAE).

    Args:
        rollout: of acting, time in front.
        values: of the observations after the last step.
        discount: of later rewards.
        decay: of later differences.
    """

    def back(carry: Any, step: Rollout) -> Any:
        advantage, after = carry
        after = jnp.where(step.done, step.final_values, after)
        delta = step.rewards + discount * after - step.values
        advantage = delta + discount * decay * jnp.where(step.done, 0, advantage)
        return (advantage, step.values), advantage

    return jax.lax.scan(back, (jnp.zeros_like(values), values), rollout, reverse=True)[1]


def _look(net: Layer, params: Params, acting: Acting, options: PPOOptions) -> Any:
    """Returns outputs, new state and reset flags, by a sequence of one step: the kernel runs it."""
    begins = acting.begins | (not options.memory)
    outputs, memory = net.apply(params, acting.xs[:, None], acting.memory, resets=begins[:, None])
    return outputs[:, 0], memory, begins


def _loss(
    net: Layer,
    options: PPOOptions,
    params: Params,
    memory: State,
    rollout: Rollout,
    advantages: Float[Array, "environment time"],
) -> tuple[Array, Metrics]:
    outputs, _ = net.apply(params, rollout.xs, memory, resets=rollout.begins)
    logits, values = outputs[..., :-1], outputs[..., -1]
    difference = _log_prob(logits, rollout.actions) - rollout.log_probs
    ratio = jnp.exp(difference)
    scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    near = jnp.clip(ratio, 1 - options.clip, 1 + options.clip)
    policy = -jnp.minimum(ratio * scaled, near * scaled).mean()
    value = ((values - rollout.values - advantages) ** 2).mean() / 2
    log_p = jax.nn.log_softmax(logits)
    entropy = -(jnp.exp(log_p) * log_p).sum(-1).mean()
    loss = policy + options.value * value - options.entropy * entropy
    clipped = (abs(ratio - 1) > options.clip).mean()
    return loss, {"entropy": entropy, "kl": (ratio - 1 - difference).mean(), "clipped": clipped}


def _log_prob(logits: Array, actions: Array) -> Array:
    return jnp.take_along_axis(jax.nn.log_softmax(logits), actions[..., None], -1)[..., 0]


def _check(environment: Environment, net: Layer, options: PPOOptions) -> None:
    """Raises ValueError unless net and options fit the environment."""
    actions, outputs = environment.num_actions, net.output_size(environment.observation_size)
    if outputs != actions + 1:
        raise ValueError(
            f"ppo: net must have {actions + 1} outputs, the logits of {actions} actions and a "
            f"value, got {outputs}."
        )
    for name in ("environments", "steps", "epochs", "minibatches"):
        check_count("ppo", name, getattr(options, name))
    if options.environments % options.minibatches:
        raise ValueError(
            f"ppo: minibatches must divide the {options.environments} environments, "
            f"got {options.minibatches}."
        )
