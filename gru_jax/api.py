"""The public names of `gru_jax`, which imports this module on the first use of one of them."""

# Look
from gru_jax.analysis.dynamics import gradient_norms as gradient_norms
from gru_jax.analysis.dynamics import lyapunov_exponent as lyapunov_exponent
from gru_jax.analysis.gates import Ends as Ends
from gru_jax.analysis.gates import Saturation as Saturation
from gru_jax.analysis.gates import saturation as saturation
from gru_jax.analysis.gates import timescales as timescales
from gru_jax.analysis.summary import summary as summary

# Cells
from gru_jax.architecture import Architecture as Architecture
from gru_jax.architecture import build as build
from gru_jax.architecture import buildable as buildable
from gru_jax.cells.block_gru import block_gru as block_gru
from gru_jax.cells.block_gru_params import BlockGRUParams as BlockGRUParams
from gru_jax.cells.block_gru_params import BlockLayer as BlockLayer
from gru_jax.cells.conv_gru import conv_gru as conv_gru
from gru_jax.cells.conv_gru_params import ConvGRUParams as ConvGRUParams
from gru_jax.cells.diagonal_gru import DiagonalGRUParams as DiagonalGRUParams
from gru_jax.cells.diagonal_gru import diagonal_gru as diagonal_gru
from gru_jax.cells.gru import candidate as candidate
from gru_jax.cells.gru import gru as gru
from gru_jax.cells.gru import hidden_state as hidden_state
from gru_jax.cells.gru import reset_gate as reset_gate
from gru_jax.cells.gru import update_gate as update_gate
from gru_jax.cells.gru_d import GRUDParams as GRUDParams
from gru_jax.cells.gru_d import GRUDState as GRUDState
from gru_jax.cells.gru_d import gru_d as gru_d
from gru_jax.cells.gru_d_inputs import gru_d_inputs as gru_d_inputs
from gru_jax.cells.gru_params import GRUParams as GRUParams
from gru_jax.cells.layer_norm_gru import LayerNormGRUParams as LayerNormGRUParams
from gru_jax.cells.layer_norm_gru import layer_norm_gru as layer_norm_gru
from gru_jax.cells.learned_initial_state import (
    LearnedInitialStateParams as LearnedInitialStateParams,
)
from gru_jax.cells.learned_initial_state import learned_initial_state as learned_initial_state
from gru_jax.cells.li_gru import LiGRUParams as LiGRUParams
from gru_jax.cells.li_gru import li_gru as li_gru
from gru_jax.cells.lstm import LSTMParams as LSTMParams
from gru_jax.cells.lstm import LSTMState as LSTMState
from gru_jax.cells.lstm import lstm as lstm
from gru_jax.cells.mgu import MGUParams as MGUParams
from gru_jax.cells.mgu import mgu as mgu
from gru_jax.cells.min_gru import MinGRUParams as MinGRUParams
from gru_jax.cells.min_gru import min_gru as min_gru

# Train
from gru_jax.data.backtest import WindowSplit as WindowSplit
from gru_jax.data.backtest import forecast_windows as forecast_windows
from gru_jax.data.backtest import make_cutoffs as make_cutoffs
from gru_jax.data.backtest import split_windows as split_windows
from gru_jax.data.batching import Batch as Batch
from gru_jax.data.batching import Dataset as Dataset
from gru_jax.data.batching import make_batches as make_batches
from gru_jax.data.batching import pad as pad
from gru_jax.data.batching import split as split
from gru_jax.data.batching import take as take
from gru_jax.data.calendar import Frequency as Frequency
from gru_jax.data.calendar import step_times as step_times
from gru_jax.data.files import read_sequences as read_sequences
from gru_jax.data.japanese_vowels import load_japanese_vowels as load_japanese_vowels
from gru_jax.data.labelled import Labelled as Labelled
from gru_jax.data.labelled import class_names as class_names
from gru_jax.data.labelled import labels_are_numbers as labels_are_numbers
from gru_jax.data.labelled_files import read_labelled as read_labelled
from gru_jax.data.moving_digits import MovingDigits as MovingDigits
from gru_jax.data.moving_digits import draw_moving_digits as draw_moving_digits
from gru_jax.data.seasonal_naive import seasonal_naive as seasonal_naive
from gru_jax.data.series import Series as Series
from gru_jax.data.series import SeriesTable as SeriesTable
from gru_jax.data.series import read_series as read_series
from gru_jax.data.times import format_times as format_times
from gru_jax.data.windows import Standardization as Standardization
from gru_jax.data.windows import WindowBatch as WindowBatch
from gru_jax.data.windows import Windows as Windows
from gru_jax.data.windows import gather_windows as gather_windows
from gru_jax.data.windows import window_batches as window_batches

# Layers
from gru_jax.layers.blocks import depth_to_space as depth_to_space
from gru_jax.layers.blocks import space_to_depth as space_to_depth
from gru_jax.layers.combine import residual as residual
from gru_jax.layers.combine import stack as stack
from gru_jax.layers.forecast import Forecast as Forecast
from gru_jax.layers.forecast import forecast as forecast
from gru_jax.layers.images import ConvParams as ConvParams
from gru_jax.layers.images import conv as conv
from gru_jax.layers.images import pool_space as pool_space
from gru_jax.layers.layer import Layer as Layer
from gru_jax.layers.pointwise import DenseParams as DenseParams
from gru_jax.layers.pointwise import EmbedParams as EmbedParams
from gru_jax.layers.pointwise import dense as dense
from gru_jax.layers.pointwise import dropout as dropout
from gru_jax.layers.pointwise import embed as embed
from gru_jax.layers.pointwise import gaussian_noise as gaussian_noise
from gru_jax.layers.pooling import PoolState as PoolState
from gru_jax.layers.pooling import pool as pool
from gru_jax.layers.recurrent import Directions as Directions
from gru_jax.layers.recurrent import bidirectional as bidirectional
from gru_jax.layers.recurrent import recurrent as recurrent
from gru_jax.layers.seg_rnn import SegRNNParams as SegRNNParams
from gru_jax.layers.seg_rnn import seg_rnn as seg_rnn
from gru_jax.layers.trace import explain_backend as explain_backend

# Run
from gru_jax.layers.trace import trace as trace
from gru_jax.ops.initializers import init_chrono as init_chrono
from gru_jax.ops.initializers import init_uniform as init_uniform
from gru_jax.recurrence.boundaries import Boundaries as Boundaries
from gru_jax.sequence.unroll import unroll as unroll
from gru_jax.training.checkpoint import load_checkpoint as load_checkpoint
from gru_jax.training.checkpoint import save_checkpoint as save_checkpoint
from gru_jax.training.fit import Progress as Progress
from gru_jax.training.fit import Row as Row
from gru_jax.training.fit import fit as fit
from gru_jax.training.fit import init_progress as init_progress
from gru_jax.training.forecast_metrics import coverage as coverage
from gru_jax.training.forecast_metrics import mae as mae
from gru_jax.training.forecast_metrics import mase as mase
from gru_jax.training.forecast_metrics import mse as mse
from gru_jax.training.forecast_metrics import scaled_crps as scaled_crps
from gru_jax.training.levels import level_columns as level_columns
from gru_jax.training.levels import level_quantiles as level_quantiles
from gru_jax.training.loop import make_train_loop as make_train_loop
from gru_jax.training.losses import cross_entropy as cross_entropy
from gru_jax.training.losses import masked_mean as masked_mean
from gru_jax.training.losses import quantile_loss as quantile_loss
from gru_jax.training.losses import squared_error as squared_error
from gru_jax.training.metrics import accuracy as accuracy
from gru_jax.training.metrics import confusion_matrix as confusion_matrix
from gru_jax.training.optimizer import make_optimizer as make_optimizer
from gru_jax.training.step import Metrics as Metrics
from gru_jax.training.step import TrainState as TrainState
from gru_jax.training.step import TrainStep as TrainStep
from gru_jax.training.step import count_parameters as count_parameters
from gru_jax.training.step import init_train_state as init_train_state
from gru_jax.training.step import is_differentiating as is_differentiating
from gru_jax.training.step import make_train_step as make_train_step
from gru_jax.training.truncated import cut_time as cut_time
from gru_jax.training.truncated import make_truncated_step as make_truncated_step
from gru_jax.types import Cell as Cell
from gru_jax.types import Input as Input
from gru_jax.types import Key as Key
from gru_jax.types import Params as Params
from gru_jax.types import Trace as Trace
