"""The GRU as a Flax linen module.

    from gru_jax.linen import GRU

    gru = GRU(64, num_layers=2, bidirectional=True, dropout=0.3)
    variables = gru.init(key, xs, deterministic=True)  # xs: [*batch, time, input]
    ys, h_last = gru.apply(variables, xs, deterministic=False, rngs={"dropout": key_dropout})
    traces = gj.trace(gru.net(), gru.params_from(variables), xs)  # what the gates did

`GRU` runs `gru.net()`, a net of `gj.recurrent`, `gj.bidirectional`, `gj.stack` and `gj.dropout`,
with its derivatives and its boundaries. It computes nothing else. `Net(layer)` runs any layer.
`ScannedRNN()` replaces the class of this name in code for reinforcement learning.
"""

from gru_jax.linen.gru import GRU as GRU
from gru_jax.linen.net import Net as Net
from gru_jax.linen.scanned_rnn import ScannedRNN as ScannedRNN
