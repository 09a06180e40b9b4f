"""The Gated Recurrent Unit as pure functions in JAX.

    import gru_jax as gj

    cell = gj.gru(64)
    params = cell.init(key, 12)
    hs, h_last = gj.unroll(cell, params, xs)

Figures (`gru_jax.plot`), other frameworks' weights and files (`gru_jax.interop`), Flax modules
(`gru_jax.linen`, `gru_jax.nnx`), checkpoints (`gru_jax.training.checkpoint`) and the command are
imported where they are used.
"""

from gru_jax.analysis.dynamics import gradient_norms as gradient_norms
from gru_jax.analysis.dynamics import lyapunov_exponent as lyapunov_exponent
from gru_jax.analysis.gates import Ends as Ends
from gru_jax.analysis.gates import Saturation as Saturation
from gru_jax.analysis.gates import saturation as saturation
from gru_jax.analysis.gates import timescales as timescales
from gru_jax.cells.gru import candidate as candidate
from gru_jax.cells.gru import gru as gru
from gru_jax.cells.gru import hidden_state as hidden_state
from gru_jax.cells.gru import reset_gate as reset_gate
from gru_jax.cells.gru import update_gate as update_gate
from gru_jax.cells.gru_params import GRUParams as GRUParams
from gru_jax.cells.layer_norm_gru import LayerNormGRUParams as LayerNormGRUParams
from gru_jax.cells.layer_norm_gru import layer_norm_gru as layer_norm_gru
from gru_jax.cells.learned_initial_state import (
    LearnedInitialStateParams as LearnedInitialStateParams,
)
from gru_jax.cells.learned_initial_state import learned_initial_state as learned_initial_state
from gru_jax.data.batching import Batch as Batch
from gru_jax.data.batching import Dataset as Dataset
from gru_jax.data.batching import make_batches as make_batches
from gru_jax.data.batching import pad as pad
from gru_jax.data.batching import split as split
from gru_jax.data.japanese_vowels import load_japanese_vowels as load_japanese_vowels
from gru_jax.layers.combine import residual as residual
from gru_jax.layers.combine import stack as stack
from gru_jax.layers.pointwise import dense as dense
from gru_jax.layers.pointwise import dropout as dropout
from gru_jax.layers.pointwise import gaussian_noise as gaussian_noise
from gru_jax.layers.pooling import pool as pool
from gru_jax.layers.recurrent import bidirectional as bidirectional
from gru_jax.layers.recurrent import recurrent as recurrent
from gru_jax.ops.initializers import init_chrono as init_chrono
from gru_jax.ops.initializers import init_uniform as init_uniform
from gru_jax.sequence.unroll import trace as trace
from gru_jax.sequence.unroll import unroll as unroll
from gru_jax.training.fit import Progress as Progress
from gru_jax.training.fit import fit as fit
from gru_jax.training.fit import init_progress as init_progress
from gru_jax.training.loop import make_train_loop as make_train_loop
from gru_jax.training.losses import cross_entropy as cross_entropy
from gru_jax.training.losses import masked_mean as masked_mean
from gru_jax.training.losses import squared_error as squared_error
from gru_jax.training.metrics import accuracy as accuracy
from gru_jax.training.metrics import confusion_matrix as confusion_matrix
from gru_jax.training.optimizer import make_optimizer as make_optimizer
from gru_jax.training.step import TrainState as TrainState
from gru_jax.training.step import count_parameters as count_parameters
from gru_jax.training.step import init_train_state as init_train_state
from gru_jax.training.step import is_differentiating as is_differentiating
from gru_jax.training.step import make_train_step as make_train_step
from gru_jax.training.truncated import cut_time as cut_time
from gru_jax.training.truncated import make_truncated_step as make_truncated_step
from gru_jax.types import Cell as Cell
from gru_jax.types import Layer as Layer
from gru_jax.types import Trace as Trace
