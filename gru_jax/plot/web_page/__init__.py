"""A web page that runs a net: one HTML file that works offline.

net, params, xs --pack--> JSON --build--> HTML, with the JavaScript of web/

gru.js    the cell, forwards and back      net.js   layers, and the trace of each cell
data.js   arrays from JSON                 model.js what is shown, and what is changed
sequence.js, cell.js, unit.js              the three levels
output.js, forecast.js                     what the net says
"""

from gru_jax.plot.web_page.build import MAX_STEPS as MAX_STEPS
from gru_jax.plot.web_page.build import Page as Page
from gru_jax.plot.web_page.build import page as page
from gru_jax.plot.web_page.horizon import Horizon as Horizon
from gru_jax.plot.web_page.pack import find_reader as find_reader
from gru_jax.plot.web_page.widget import widget as widget
