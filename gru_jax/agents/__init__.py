"""Recurrent agents: small environments in JAX, and PPO for a net with memory.

environment = gj.agents.t_maze(20)
net = gj.stack(gj.dense(32), gj.recurrent(gj.gru(32)), gj.dense(environment.num_actions + 1))
state = gj.agents.init_ppo(key, environment, net, tx, options)
loop = gj.make_train_loop(gj.agents.make_ppo_step(environment, net, tx, options))
state, metrics = loop(state, jnp.arange(100))                    # 100 updates
"""

from gru_jax.agents.cart_pole import cart_pole as cart_pole
from gru_jax.agents.environment import Environment as Environment
from gru_jax.agents.environment import Step as Step
from gru_jax.agents.episodes import Episodes as Episodes
from gru_jax.agents.episodes import play as play
from gru_jax.agents.ppo import PPOOptions as PPOOptions
from gru_jax.agents.ppo import init_ppo as init_ppo
from gru_jax.agents.ppo import make_ppo_step as make_ppo_step
from gru_jax.agents.repeat_previous import repeat_previous as repeat_previous
from gru_jax.agents.t_maze import t_maze as t_maze
