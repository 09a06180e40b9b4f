"""What people look at. Needs matplotlib: `pip install 'gru_jax[plot]'`.

    gates                               the tape of one sequence, as heat maps
    timescales, gradient_flow           how far back units remember, and gradients reach
    forecast                            a series and what was predicted of it
    learning_curves, confusion_matrix   how training went

Each function draws into `ax`, or into a new figure where it is None, returns the axes, and leaves
matplotlib's global state alone. Steps count from 0, as in the arrays. Colours hold in grey and for
colour-blind readers: lines differ in dash too, signed values go from dark to light, and every cell
of a confusion matrix carries its number.
"""

from gru_jax.plot.gates import Panels as Panels
from gru_jax.plot.gates import gates as gates
from gru_jax.plot.memory import gradient_flow as gradient_flow
from gru_jax.plot.memory import timescales as timescales
from gru_jax.plot.series import forecast as forecast
from gru_jax.plot.training import confusion_matrix as confusion_matrix
from gru_jax.plot.training import learning_curves as learning_curves
