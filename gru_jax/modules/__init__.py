"""Code that the Flax modules of linen and nnx share: options, names of parameters, calls."""

from gru_jax.modules.calls import cast as cast
from gru_jax.modules.calls import in_order as in_order
from gru_jax.modules.calls import run as run
from gru_jax.modules.options import CellOptions as CellOptions
from gru_jax.modules.options import Options as Options
from gru_jax.modules.options import ScanOptions as ScanOptions
from gru_jax.modules.options import is_random as is_random
from gru_jax.modules.options import make_net as make_net
from gru_jax.modules.params import init_layer as init_layer
from gru_jax.modules.params import input_sizes as input_sizes
from gru_jax.modules.params import leaf_names as leaf_names
from gru_jax.modules.params import name_params as name_params
from gru_jax.modules.params import take_params as take_params
from gru_jax.modules.scanned import check_scan as check_scan
from gru_jax.modules.scanned import initialize_carry as initialize_carry
from gru_jax.modules.scanned import scan as scan
