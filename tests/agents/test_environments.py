"""The environments beside plain Python, with random actions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import gru_jax as gj

NORTH, EAST, SOUTH, WEST = range(4)


def run(environment, actions, seed):
    """Returns the first state and observation, and all steps up to the end of the episode."""
    key = jax.random.key(seed)
    state, x = environment.reset(key)
    first, step, steps = (state, x), jax.jit(environment.step), []
    for i, action in enumerate(actions):
        steps.append(step(jax.random.fold_in(key, i), state, jnp.asarray(action)))
        state = steps[-1].state
        if steps[-1].terminated or steps[-1].truncated:
            break
    return first, steps


def maze(corridor, north, actions):
    """Yields observation, reward and whether the episode is over, by Bakker's table."""
    position, limit = 0, 3 * corridor + 10
    for time, action in enumerate(actions, 1):
        before, turned = position, position == corridor and action in (NORTH, SOUTH)
        position += {EAST: 1, WEST: -1}.get(action, 0)
        position = min(max(position, 0), corridor)
        reward = 0 if position > before else -0.1
        if turned and (action == NORTH) == north:
            reward = 4
        x = [1, 0, 1] if 0 < position < corridor else [0, 1, 0]
        if position == 0:
            x = [0, 1, 1] if north else [1, 1, 0]
        yield x, reward, turned, not turned and time == limit
        if turned or time == limit:
            return


@pytest.mark.parametrize("corridor", [1, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_t_maze_is_bakkers_table(corridor, seed):
    rng = np.random.default_rng(seed)
    actions = rng.choice(4, 100, p=[0.15, 0.4, 0.15, 0.3])
    (state, x), steps = run(gj.agents.t_maze(corridor), actions, seed)
    expected = list(maze(corridor, bool(state.north), actions))
    assert x.tolist() == ([0, 1, 1] if state.north else [1, 1, 0])
    assert len(steps) == len(expected)
    for step, (x, reward, terminated, truncated) in zip(steps, expected, strict=True):
        assert step.x.tolist() == x
        assert float(step.reward) == pytest.approx(reward)
        assert (bool(step.terminated), bool(step.truncated)) == (terminated, truncated)


def test_both_signs_are_drawn_and_the_best_way_earns_the_best_return():
    environment = gj.agents.t_maze(4)
    signs = set()
    for seed in range(20):
        (state, _), _ = run(environment, [], seed)
        turn = NORTH if state.north else SOUTH
        _, steps = run(environment, [EAST] * 4 + [turn], seed)
        assert sum(float(s.reward) for s in steps) == environment.best_return
        _, wrong = run(environment, [EAST] * 4 + [SOUTH + NORTH - turn], seed)
        mean = (environment.best_return + sum(float(s.reward) for s in wrong)) / 2
        assert environment.memoryless_return == pytest.approx(mean)
        signs.add(bool(state.north))
    assert len(signs) == 2


@pytest.mark.parametrize(("delay", "symbols"), [(1, 2), (4, 4), (3, 7)])
def test_repeat_previous_rewards_the_symbol_of_delay_steps_ago(delay, symbols):
    steps_of = 12
    environment = gj.agents.repeat_previous(delay, symbols, steps_of)
    rng = np.random.default_rng(delay)
    actions = rng.integers(symbols, size=steps_of + 5)
    (_, x), steps = run(environment, actions, 3)
    assert len(steps) == environment.max_steps == steps_of
    shown = [int(np.argmax(x))] + [int(np.argmax(step.x)) for step in steps]
    assert len(set(shown)) > 1
    for t, step in enumerate(steps):
        assert step.x.sum() == 1
        right = t >= delay and actions[t] == shown[t - delay]
        assert float(step.reward) == pytest.approx(right / (steps_of - delay))
        assert bool(step.terminated) == (t == steps_of - 1)
        assert not step.truncated
    best = [0] * delay + shown
    _, steps = run(environment, best[:steps_of], 3)
    assert sum(float(s.reward) for s in steps) == pytest.approx(environment.best_return)
    assert environment.memoryless_return == pytest.approx(1 / symbols)


def test_cart_pole_is_the_papers_equations():
    """Barto, Sutton and Anderson (1983), without friction; their gravity is -9.8 m/s^2."""
    with jax.enable_x64(True):
        environment = gj.agents.cart_pole()
        rng = np.random.default_rng(0)
        (state, x), steps = run(environment, rng.integers(2, size=500), 1)
        here = [float(a) for a in state[:4]]
        assert all(abs(a) <= 0.05 for a in here)
        np.testing.assert_allclose(x, [here[0] / 2.4, here[2] / math.radians(12)], rtol=1e-6)
        rng = np.random.default_rng(0)
        actions = rng.integers(2, size=500)
        assert 5 < len(steps) < 200
        for action, step in zip(actions, steps, strict=False):
            p, v, a, w = here
            force = 10 if action else -10
            sin, cos = math.sin(a), math.cos(a)
            inner = (-force - 0.1 * 0.5 * w * w * sin) / 1.1
            w_rate = (9.8 * sin + cos * inner) / (0.5 * (4 / 3 - 0.1 * cos * cos / 1.1))
            v_rate = (force + 0.1 * 0.5 * (w * w * sin - w_rate * cos)) / 1.1
            here = [p + 0.02 * v, v + 0.02 * v_rate, a + 0.02 * w, w + 0.02 * w_rate]
            np.testing.assert_allclose(step.state[:4], here, rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(
                step.x, [here[0] / 2.4, here[2] / math.radians(12)], rtol=1e-6, atol=1e-9
            )
            fell = abs(here[0]) > 2.4 or abs(here[2]) > math.radians(12)
            assert bool(step.terminated) == fell
            assert float(step.reward) == 1
        assert steps[-1].terminated


def test_cart_pole_is_cut_off_after_500_steps():
    environment = gj.agents.cart_pole()
    state, _ = environment.reset(jax.random.key(0))
    for time, over in ((498, False), (499, True)):
        late = state._replace(time=jnp.asarray(time))
        step = environment.step(jax.random.key(1), late, jnp.asarray(1))
        assert bool(step.truncated) == over
        assert not step.terminated
    assert environment.best_return == environment.max_steps == 500


def test_sizes_that_make_no_environment_are_refused():
    with refused("t_maze: corridor must be a whole number from 1, got 0."):
        gj.agents.t_maze(0)
    with refused("repeat_previous: delay must be a whole number from 1, got 0."):
        gj.agents.repeat_previous(0)
    with refused("repeat_previous: symbols must be a whole number from 1, got 0."):
        gj.agents.repeat_previous(1, 0)
    with refused("repeat_previous: steps must be above the delay, 4, got 4."):
        gj.agents.repeat_previous(4, 4, 4)
