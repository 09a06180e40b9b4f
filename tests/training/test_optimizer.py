import jax.numpy as jnp
import numpy as np
from quadratic import batches, first, init, quadratic

import gru_jax as gj


def test_weight_decay_is_decoupled_from_the_gradient():
    tx = gj.make_optimizer(0.5, steps=10, warmup=0.0, weight_decay=0.1)
    params = {"w": jnp.array([2.0, -4.0])}
    updates, _ = tx.update({"w": jnp.zeros(2)}, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], -0.5 * 0.1 * params["w"], rtol=1e-6)


def test_one_step_is_a_whole_training():
    tx = gj.make_optimizer(0.5, steps=1)
    state, _ = gj.make_train_step(quadratic, tx)(init(tx), first(batches(1)))
    np.testing.assert_allclose(state.params["w"], 1.5, rtol=1e-5)


def test_the_optimiser_warms_up_decays_and_clips():
    tx = gj.make_optimizer(1.0, steps=100, warmup=0.2, clip_norm=1.0)
    params = {"w": jnp.zeros(2)}
    opt_state, sizes = tx.init(params), []
    for _ in range(100):
        updates, opt_state = tx.update({"w": jnp.array([3e4, 4e4])}, opt_state, params)
        sizes.append(float(-updates["w"][0]))
    # Adam's update of a constant gradient is the learning rate itself.
    t = np.arange(100)
    want = np.where(t < 20, t / 20, 0.5 * (1 + np.cos(np.pi * (t - 20) / 80)))
    np.testing.assert_allclose(sizes, want, atol=1e-3)
    clip = gj.make_optimizer(1.0, steps=10, clip_norm=1.0)
    _, (_, adam, *_) = clip.update({"w": jnp.array([3.0, 4.0])}, clip.init(params), params)
    np.testing.assert_allclose(adam[0].mu["w"], 0.1 * np.array([0.6, 0.8]), rtol=1e-5)
