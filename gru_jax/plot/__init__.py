"""Figures. Needs matplotlib: `pip install 'gru_jax[plot]'`.

    gates                               the trace of one sequence, as heat maps
    step, animation                     one step of the cell as a diagram; all of them, one by one
    timescales, gradient_flow           how far back units remember, and gradients reach
    forecast                            a series and its prediction
    learning_curves, confusion_matrix   the course of training
    video                               images that change in time
    page, widget                        a page that runs a net, as HTML and for notebooks

`page` and `widget` draw in a browser. The others draw into `ax`, or into a new figure if it is
None, and return the axes; `animation` and `video` return the argument of `save_gif`.
matplotlib's global state does not change. Steps count from 0, as in the arrays. Colours hold in
grey and for colour-blind readers. Lines differ in dash, too. Shut to open and negative to positive
go from dark to light. Cells of a matrix or diagram carry numbers.
"""

from gru_jax.plot.diagram import step as step
from gru_jax.plot.heat_maps import Panels as Panels
from gru_jax.plot.heat_maps import gates as gates
from gru_jax.plot.memory import gradient_flow as gradient_flow
from gru_jax.plot.memory import timescales as timescales
from gru_jax.plot.motion import animation as animation
from gru_jax.plot.motion import save_gif as save_gif
from gru_jax.plot.series import forecast as forecast
from gru_jax.plot.training import confusion_matrix as confusion_matrix
from gru_jax.plot.training import learning_curves as learning_curves
from gru_jax.plot.video import video as video
from gru_jax.plot.web_page import Horizon as Horizon
from gru_jax.plot.web_page import Page as Page
from gru_jax.plot.web_page import page as page
from gru_jax.plot.web_page import widget as widget
