"""Cells as a user writes them, of three functions: LSTM, MGU, one of tokens, one of images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

import gru_jax as gj


class Weights(NamedTuple):
    W: jax.Array
    b: jax.Array


def draw(key, rows, columns):
    return Weights(jax.random.normal(key, (rows, columns)) * rows**-0.5, jnp.zeros(columns))


def affine(weights, x):
    y = x @ weights.W
    return y + jnp.broadcast_to(weights.b, y.shape)


@gj.buildable
def own_lstm(size):
    """The state is two arrays, of which layers pass on the first."""

    def init(key, input_size):
        return draw(key, input_size + size, 4 * size)

    def initial_state(params, x_shape):
        zeros = jnp.zeros((*x_shape[:-1], size), params.b.dtype)
        return zeros, zeros

    def step(params, x, state):
        h, c = state
        i, f, g, o = jnp.split(affine(params, jnp.concatenate([x, h], -1)), 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    return gj.Cell(init, initial_state, step, output=lambda state: state[0])


@gj.buildable
def own_mgu(size):
    """Zhou et al. (2016): one gate for both purposes."""

    def init(key, input_size):
        key_f, key_c = jax.random.split(key)
        return draw(key_f, input_size + size, size), draw(key_c, input_size + size, size)

    def initial_state(params, x_shape):
        return jnp.zeros((*x_shape[:-1], size), params[0].b.dtype)

    def step(params, x, h):
        gate, candidate = params
        f = jax.nn.sigmoid(affine(gate, jnp.concatenate([x, h], -1)))
        c = jnp.tanh(affine(candidate, jnp.concatenate([x, f * h], -1)))
        return (1 - f) * h + f * c

    return gj.Cell(init, initial_state, step)


def token_cell(vocabulary, size):
    """An input is one integer, without an axis."""

    def init(key, input_size):
        assert input_size == vocabulary
        return jax.random.normal(key, (vocabulary, size))

    def initial_state(params, x_shape):
        return jnp.zeros((*x_shape, size), params.dtype)

    def step(params, x, h):
        return jnp.tanh(0.5 * h + params[x])

    return gj.Cell(init, initial_state, step, input=lambda _: gj.Input((), jnp.integer))


def image_cell():
    """Inputs [height, width, channels], height and width free; no parameters at all."""

    def step(_, x, h):
        return 0.5 * h + jnp.tanh(x + jnp.roll(x, 1, -2))

    return gj.Cell(
        init=lambda _, __: (),
        initial_state=lambda _, x_shape: jnp.zeros(x_shape),
        step=step,
        input=lambda _: gj.Input((None, None, 3)),
    )
