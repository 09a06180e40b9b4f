"""`ScannedRNN` in agents and under Flax's and JAX's transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scanned_cases
from flax import linen as nn
from flax import nnx
from scanned_cases import HIDDEN, INPUT, Theirs, draw_data, draw_weights, same

import gru_jax as gj
import gru_jax.linen
import gru_jax.nnx

make = scanned_cases.make  # The fixture: each of these tests is run for both.

TIME, BATCH, SEEDS = 9, (3,), 5


class Agent(nn.Module):
    """An actor as in purejaxrl, around one or the other `ScannedRNN`."""

    rnn: type[nn.Module]

    @nn.compact
    def __call__(self, carry, x):
        observations, dones = x
        embedding = nn.relu(nn.Dense(HIDDEN)(observations))
        carry, embedding = self.rnn(name="ScannedRNN_0")(carry, (embedding, dones))
        return carry, nn.Dense(2)(embedding)


def stack_trees(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def test_parameters_of_several_seeds_run_under_vmap(rng, make):
    theirs = [draw_weights(rng) for _ in range(SEEDS)]
    data = [draw_data(rng, TIME, BATCH) for _ in range(SEEDS)]
    expected = [
        Theirs().apply(weights, carry, (ins, resets))
        for weights, (carry, ins, resets) in zip(theirs, data, strict=True)
    ]
    ours = [make(weights) for weights in theirs]
    apply, (carry, ins, resets) = ours[0].apply, stack_trees(data)

    def loss(variables, carry, ins, resets):
        last, ys = apply(variables, carry, (ins, resets))
        return (ys**2).sum() + jnp.sin(last).sum(), (last, ys)

    step = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    together = jax.jit(jax.vmap(step))(
        stack_trees([each.variables for each in ours]), carry, ins, resets
    )
    same(together[0][1], stack_trees(expected), 2e-6)
    alone = [step(each.variables, *row) for each, row in zip(ours, data, strict=True)]
    same(together, stack_trees(alone), 2e-5)


def test_an_agent_keeps_its_weights_and_its_call():
    observations = jax.random.normal(jax.random.key(0), (TIME, *BATCH, INPUT))
    x = observations, jax.random.bernoulli(jax.random.key(1), 0.3, (TIME, *BATCH))
    carry = jax.random.normal(jax.random.key(2), (*BATCH, HIDDEN))

    def theirs(name):
        return Theirs(HIDDEN, name=name)

    variables = Agent(theirs).init(jax.random.key(3), carry, x)
    rnn = gru_jax.linen.ScannedRNN()
    own = rnn.variables_from(*gj.interop.from_linen(None, variables))
    params = variables["params"] | {"ScannedRNN_0": own["params"]}
    agent = Agent(gru_jax.linen.ScannedRNN)
    fresh = agent.init(jax.random.key(4), carry, x)
    assert jax.tree.map(jnp.shape, fresh) == {"params": jax.tree.map(jnp.shape, params)}
    same(agent.apply({"params": params}, carry, x), Agent(theirs).apply(variables, carry, x), 2e-6)
    _, again = gj.interop.from_linen(None, {"params": params}, name="ScannedRNN_0")
    same(again, rnn.params_from(own), 0)


@pytest.mark.parametrize("shared", [True, False])
def test_lifted_over_agents_it_is_a_loop_over_them(rng, shared):
    rnn = nn.vmap(
        gru_jax.linen.ScannedRNN,
        variable_axes={"params": None if shared else 0},
        split_rngs={"params": not shared},
    )(HIDDEN)
    carry, ins, resets = stack_trees([draw_data(rng, TIME, BATCH) for _ in range(2)])
    variables = rnn.init(jax.random.key(0), carry, (ins, resets))
    last, ys = rnn.apply(variables, carry, (ins, resets))
    for i in range(2):
        own = variables if shared else jax.tree.map(lambda leaf: leaf[i], variables)  # noqa: B023
        alone = gru_jax.linen.ScannedRNN(HIDDEN).apply(own, carry[i], (ins[i], resets[i]))
        same((last[i], ys[i]), alone, 2e-6)


def test_nnx_makes_and_runs_several_seeds_at_once(rng):
    carry, ins, resets = draw_data(rng, TIME, BATCH)

    @nnx.split_rngs(splits=SEEDS)
    @nnx.vmap
    def build(rngs):
        return gru_jax.nnx.ScannedRNN(INPUT, HIDDEN, rngs=rngs)

    @nnx.vmap(in_axes=(0, None, None))
    def run(rnn, carry, x):
        return rnn(carry, x)

    rnns = build(nnx.Rngs(0))
    graph, state = nnx.split(rnns)
    together = run(rnns, carry, (ins, resets))
    alone = [
        nnx.merge(graph, jax.tree.map(lambda leaf: leaf[i], state))(carry, (ins, resets))  # noqa: B023
        for i in range(SEEDS)
    ]
    same(together, stack_trees(alone), 2e-6)
    assert len({float(row) for row in together[1][:, 0, 0, 0]}) == SEEDS


def test_the_weights_are_those_of_gru_and_of_its_net(rng):
    rnn = gru_jax.linen.ScannedRNN(HIDDEN)
    carry, ins, resets = draw_data(rng, TIME, BATCH)
    variables = rnn.variables_from(*gj.interop.from_linen(None, draw_weights(rng)))
    expected = rnn.apply(variables, carry, (ins, resets))
    gru = gru_jax.linen.GRU(HIDDEN, reset="after", time_axis=0, carry_first=True)
    same(gru.apply(variables, ins, h0=carry, resets=resets), expected, 2e-6)
    params, xs = rnn.params_from(variables), ins.swapaxes(0, 1)
    ys, last = rnn.net().apply(params, xs, carry, resets=resets.T)
    same((last, ys.swapaxes(0, 1)), expected, 2e-6)


def test_initialisers_with_metadata_keep_it():
    init = nn.with_partitioning(jax.nn.initializers.lecun_normal(), (None, "model"))
    rnn = gru_jax.linen.ScannedRNN(HIDDEN, kernel_init=init)
    carry, x = jnp.zeros((1, HIDDEN)), (jnp.zeros((1, 1, INPUT)), jnp.zeros((1, 1)))
    variables = rnn.init(jax.random.key(0), carry, x)
    specs = nn.get_partition_spec(variables)["params"]["layers_0"]["forward"]
    assert specs["W_r"] == jax.sharding.PartitionSpec(None, "model")
    np.testing.assert_array_equal(rnn.apply(variables, carry, x)[1].shape, (1, 1, HIDDEN))
    ours = gru_jax.nnx.ScannedRNN(
        INPUT, HIDDEN, kernel_metadata={"tag": "W"}, bias_metadata={"tag": "b"}, rngs=nnx.Rngs(0)
    )
    assert ours.layers_0.forward.W_r.tag == "W"
    assert ours.layers_0.forward.b_h.tag == "b"
