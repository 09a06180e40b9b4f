"""PPO beside NumPy's loops; acting beside learning; updates that learn, resume and are refused."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refused

import gru_jax as gj
from gru_jax.agents import Environment, PPOOptions, Step, ppo

MAZE = gj.agents.t_maze(3)
OPTIONS = PPOOptions(environments=8, steps=24, epochs=2, minibatches=4)
TX = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(3e-3))


def make_net(environment=MAZE, hidden=16, **options):
    """Returns a net with random biases, too, so that its first policy is not uniform."""
    cell = gj.gru(hidden, bias_init=jax.nn.initializers.normal(0.5))
    heads = gj.dense(environment.num_actions + 1, bias_init=jax.nn.initializers.normal(0.5))
    return gj.stack(gj.dense(hidden), gj.recurrent(cell, **options), heads)


def begin(environment=MAZE, net=None, options=OPTIONS, seed=0):
    net = net or make_net(environment)
    return net, gj.agents.init_ppo(jax.random.key(seed), environment, net, TX, options)


def act(environment=MAZE, options=OPTIONS, seed=0, rounds=2):
    """Returns net, parameters, the acting state before the last rollout, and that rollout."""
    net, state = begin(environment, options=options, seed=seed)
    acting, rolled = state.carry, jax.jit(ppo.roll_out, static_argnums=(0, 1, 5))
    for i in range(rounds):
        before = acting
        key = jax.random.key(100 + i)
        acting, rollout = rolled(environment, net, state.params, before, key, options)
    return net, state.params, before, acting, rollout


class Count(NamedTuple):
    time: jax.Array
    length: jax.Array


def count_steps():
    """Episodes of random lengths, from an observation of 100 on; even lengths are truncated."""

    def reset(key):
        length = jax.random.randint(key, (), 2, 7)
        return Count(jnp.zeros((), jnp.int32), length), jnp.full(1, 100.0)

    def step(_, state, action):
        state = state._replace(time=state.time + 1)
        over, x = state.time >= state.length, 100 + state.time.astype(jnp.float32)
        truncates = state.length % 2 == 0
        return Step(state, x[None], 1.0 + action, over & ~truncates, over & truncates)

    return Environment("count_steps", reset, step, 1, 2, 7, best_return=12.0)


def test_acting_is_learning_and_the_first_ratio_is_one():
    for options in (OPTIONS, OPTIONS._replace(memory=False)):
        net, params, before, _, rollout = act(options=options)
        assert rollout.done.sum() > 8  # Episodes end inside the rollout.
        assert all(np.abs(a).min() > 0 for a in jax.tree.leaves(before.memory))
        xs, resets = rollout.xs.swapaxes(0, 1), rollout.begins.swapaxes(0, 1)
        outputs, _ = net.apply(params, xs, before.memory, resets=resets)
        log_p = np.asarray(jax.nn.log_softmax(outputs[..., :-1]), float)
        actions = np.asarray(rollout.actions.T)[..., None]
        ratio = np.exp(np.take_along_axis(log_p, actions, -1)[..., 0] - rollout.log_probs.T)
        np.testing.assert_allclose(ratio, 1, atol=1e-4)
        np.testing.assert_allclose(outputs[..., -1], rollout.values.T, atol=1e-4)
        if not options.memory:
            assert rollout.begins.all()
            continue
        late, _ = net.apply(params, xs, before.memory, resets=rollout.done.swapaxes(0, 1))
        assert np.abs(late - outputs).max() > 0.05  # One step off is another function.


def test_begins_follow_done_and_the_last_whole_episode_is_kept():
    _, _, before, after, rollout = act()
    done, rewards = np.asarray(rollout.done), np.asarray(rollout.rewards)
    np.testing.assert_array_equal(rollout.begins[0], before.begins)
    np.testing.assert_array_equal(rollout.begins[1:], done[:-1])
    np.testing.assert_array_equal(after.begins, done[-1])
    for i in range(OPTIONS.environments):
        total, length = float(before.total[i]), int(before.length[i])
        last = float(before.last_return[i]), int(before.last_length[i])
        for t in range(OPTIONS.steps):
            total, length = total + rewards[t, i], length + 1
            if done[t, i]:
                last, total, length = (total, length), 0.0, 0
        assert (float(after.last_return[i]), float(after.total[i])) == pytest.approx(
            (last[0], total), abs=1e-5
        )
        assert (int(after.last_length[i]), int(after.length[i])) == (last[1], length)


def test_only_truncated_episodes_have_the_value_of_what_would_follow():
    net, params, before, _, rollout = act(count_steps(), options=OPTIONS._replace(steps=10))
    memory, counts = before.memory, [0, 0]
    for t in range(10):
        x, done = rollout.xs[t], np.asarray(rollout.done[t])
        _, memory = net.step(params, x, memory, begins=rollout.begins[t])
        final = net.step(params, x + 1, memory)[0][:, -1]  # not of the next episode's 100
        truncated = done & (np.asarray(x[:, 0] - 99) % 2 == 0)
        expected = np.where(truncated, final, 0)
        np.testing.assert_allclose(rollout.final_values[t], expected, rtol=1e-4, atol=1e-5)
        counts = [counts[0] + truncated.sum(), counts[1] + (done & ~truncated).sum()]
    assert min(counts) > 3


def test_advantages_are_a_plain_loop(rng):
    time, count, discount, decay = 30, 5, 0.9, 0.8
    draw = rng.normal(size=(4, time, count))
    done = rng.random((time, count)) < 0.2
    values, rewards, final = draw[0], draw[1], np.where(done & (draw[3] > 0), draw[2], 0)
    last = rng.normal(size=count)
    expected = np.zeros((time, count))
    for i in range(count):
        for t in range(time):
            # The sum of the differences ahead, up to the end of the episode.
            weight = 1.0
            for s in range(t, time):
                after = last[i] if s == time - 1 else values[s + 1, i]
                after = final[s, i] if done[s, i] else after
                delta = rewards[s, i] + discount * after - values[s, i]
                expected[t, i] += weight * delta
                weight *= discount * decay
                if done[s, i]:
                    break
    with jax.enable_x64(True):
        none = np.zeros((time, count))
        rollout = ppo.Rollout(none, none, none, none, values, rewards, done, final)
        got = ppo.estimate_advantages(rollout, jnp.asarray(last), discount, decay)
        np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_the_loss_is_numpys(rng):
    options = OPTIONS._replace(clip=0.1, entropy=0.3, value=0.7)
    with jax.enable_x64(True):
        net = gj.stack(gj.recurrent(gj.gru(6, dtype=float)), gj.dense(5, dtype=float))
        params = net.init(jax.random.key(0), 3)
        xs, resets = rng.normal(size=(4, 9, 3)), rng.random((4, 9)) < 0.2
        memory = net.initial_state(params, (4, 3))
        actions = rng.integers(4, size=(4, 9))
        outputs = np.asarray(net.apply(params, xs, memory, resets=resets)[0])
        p = np.exp(outputs[..., :-1])
        p /= p.sum(-1, keepdims=True)
        taken = np.log(np.take_along_axis(p, actions[..., None], -1)[..., 0])
        old, advantages, values = taken + 0.2 * rng.normal(size=(3, 4, 9))
        xs, resets, *given = map(jnp.asarray, (xs, resets, actions, old, values))
        rollout = ppo.Rollout(xs, resets, *given, None, None, None)
        loss, metrics = ppo._loss(net, options, params, memory, rollout, jnp.asarray(advantages))
        ratio, terms = np.exp(taken - old), []
        scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        for r, a in zip(ratio.ravel(), scaled.ravel(), strict=True):
            terms.append(-min(r * a, max(min(r, 1.1), 0.9) * a))
        value = ((outputs[..., -1] - (values + advantages)) ** 2).mean() / 2
        entropy = -(p * np.log(p)).sum(-1).mean()
        assert float(loss) == pytest.approx(np.mean(terms) + 0.7 * value - 0.3 * entropy, rel=1e-9)
        assert float(metrics["entropy"]) == pytest.approx(entropy, rel=1e-9)
        clipped = np.mean([not 0.9 <= r <= 1.1 for r in ratio.ravel()])
        assert 0 < clipped < 1
        assert float(metrics["clipped"]) == pytest.approx(clipped)
        assert float(metrics["kl"]) == pytest.approx((ratio - 1 - np.log(ratio)).mean(), rel=1e-9)


def test_an_update_begins_where_acting_began():
    """Without a change of the parameters, each ratio is 1 in every update."""
    options = OPTIONS._replace(epochs=2, minibatches=4)
    net, tx = make_net(), optax.sgd(0.0)
    state = gj.agents.init_ppo(jax.random.key(0), MAZE, net, tx, options)
    loop = gj.make_train_loop(gj.agents.make_ppo_step(MAZE, net, tx, options))
    _, metrics = loop(state, jnp.arange(3))
    np.testing.assert_allclose(metrics["kl"], 0, atol=1e-6)
    assert not metrics["clipped"].any()


def learn(memory, seeds=2, updates=40):
    options = PPOOptions(environments=32, steps=32, memory=memory)
    net = make_net()
    step = gj.agents.make_ppo_step(MAZE, net, TX, options)
    loop = gj.make_train_loop(step, ensemble=True)

    def init(key):
        return gj.agents.init_ppo(key, MAZE, net, TX, options)

    state = jax.vmap(init)(jax.random.split(jax.random.key(3), seeds))
    state, metrics = loop(state, jnp.tile(jnp.arange(updates), (seeds, 1)))
    assert metrics["finite"].all()
    params = jax.tree.map(lambda a: a[0], state.params)
    played = gj.agents.play(MAZE, net, params, jax.random.key(9), 400, memory=memory)
    return metrics["return"], played


def test_the_agent_learns_where_to_turn_with_memory_alone():
    returns, played = learn(memory=True)
    assert returns[:, -1].min() > 3.5
    assert played.returns.mean() > 3.9
    returns, played = learn(memory=False)
    assert returns[:, -1].max() < 3
    assert played.returns.mean() == pytest.approx(MAZE.memoryless_return, abs=0.5)


def test_members_of_an_ensemble_are_the_agents_that_they_would_be_alone():
    net = make_net()
    step = gj.agents.make_ppo_step(MAZE, net, TX, OPTIONS)
    keys = jax.random.split(jax.random.key(3), 3)

    def init(key):
        return gj.agents.init_ppo(key, MAZE, net, TX, OPTIONS)

    many = gj.make_train_loop(step, ensemble=True)
    state, _ = many(jax.vmap(init)(keys), jnp.tile(jnp.arange(2), (3, 1)))
    for i, key in enumerate(keys):
        alone, _ = gj.make_train_loop(step)(init(key), jnp.arange(2))
        got = jax.tree.map(lambda a, i=i: a[i], state.params)
        chex.assert_trees_all_close(got, alone.params, rtol=1e-4, atol=1e-5)


def test_updates_resume_from_a_checkpoint_to_the_same_bits(tmp_path):
    net, state = begin()
    loop = gj.make_train_loop(gj.agents.make_ppo_step(MAZE, net, TX, OPTIONS))
    whole, _ = loop(jax.tree.map(jnp.copy, state), jnp.arange(4))
    half, metrics = loop(jax.tree.map(jnp.copy, state), jnp.arange(2))
    assert half.step == 2
    assert metrics.keys() >= {"loss", "return", "length", "entropy", "kl", "clipped", "finite"}
    gj.save_checkpoint(tmp_path, gj.init_progress(half))
    half = gj.load_checkpoint(tmp_path, gj.init_progress(state)).state
    resumed, _ = loop(half, jnp.arange(2))
    chex.assert_trees_all_equal(resumed, whole)


def test_an_update_that_is_not_finite_changes_nothing():
    def step(*args):
        return MAZE.step(*args)._replace(reward=jnp.nan)

    broken = MAZE._replace(step=step)
    net, state = begin(broken)
    moved, metrics = jax.jit(gj.agents.make_ppo_step(broken, net, TX, OPTIONS))(state, 0)
    assert not metrics["finite"]
    chex.assert_trees_all_equal(moved, state)


def test_the_kernel_and_xlas_loops_make_the_same_update():
    states = []
    for backend in ("auto", "xla"):
        net, state = begin(net=make_net(backend=backend))
        states.append(jax.jit(gj.agents.make_ppo_step(MAZE, net, TX, OPTIONS))(state, 0)[0].params)
    chex.assert_trees_all_close(*states, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("memory", [False, True])
def test_played_episodes_are_whole_and_zero_behind_their_end(greedy, memory):
    net, state = begin()
    options = {"greedy": greedy, "memory": memory}
    played = gj.agents.play(MAZE, net, state.params, jax.random.key(1), 30, **options)
    assert played.xs.shape == (30, MAZE.max_steps, 3)
    assert len({int(n) for n in played.lengths}) > 1 or greedy
    resets = jnp.full(played.actions.shape, not memory)
    outputs, _ = net.apply(state.params, played.xs, resets=resets)
    for i, length in enumerate(map(int, played.lengths)):
        for array in (played.xs, played.actions, played.rewards):
            assert not array[i, length:].any()
        reward, action = float(played.rewards[i, length - 1]), int(played.actions[i, length - 1])
        turned = played.xs[i, length - 1].tolist() == [0, 1, 0] and action in (0, 2)
        assert turned or length == MAZE.max_steps
        assert (reward == 4) <= turned
        if greedy:
            likeliest = outputs[i, :length, :-1].argmax(-1)
            np.testing.assert_array_equal(played.actions[i, :length], likeliest)
        total = sum(map(float, played.rewards[i]))
        assert float(played.returns[i]) == pytest.approx(total, abs=1e-4)


def test_nets_and_options_that_do_not_fit_are_refused():
    net = gj.stack(gj.recurrent(gj.gru(4)), gj.dense(4))
    with refused("ppo: net must have 5 outputs, the logits of 4 actions and a value, got 4."):
        gj.agents.init_ppo(jax.random.key(0), MAZE, net, TX, OPTIONS)
    net = make_net()
    with refused("ppo: minibatches must divide the 8 environments, got 3."):
        gj.agents.make_ppo_step(MAZE, net, TX, OPTIONS._replace(minibatches=3))
    for name in ("environments", "steps", "epochs", "minibatches"):
        with refused(f"ppo: {name} must be a whole number from 1, got 0."):
            gj.agents.make_ppo_step(MAZE, net, TX, OPTIONS._replace(**{name: 0}))


@pytest.mark.untyped
def test_an_optimiser_that_is_none_is_refused():
    with refused("make_ppo_step: tx must be an Optax optimiser, e.g. optax.adam(1e-3), got float."):
        gj.agents.make_ppo_step(MAZE, make_net(), 0.1, OPTIONS)
