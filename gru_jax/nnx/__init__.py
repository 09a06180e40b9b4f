"""The GRU as a Flax NNX module.

    from flax import nnx
    from gru_jax.nnx import GRU

    gru = GRU(12, 64, num_layers=2, bidirectional=True, dropout=0.3, rngs=nnx.Rngs(0))
    ys, h_last = gru(xs)  # xs: [*batch, time, 12]; in training, gru.eval() ends it
    traces = gj.trace(gru.net(), gru.params(), xs)  # what the gates did

`GRU` runs `gru.net()`, a net of `gj.recurrent`, `gj.bidirectional`, `gj.stack` and `gj.dropout`,
with its derivatives and its boundaries. It computes nothing else.
`Net(layer, input_size, rngs=rngs)` runs any layer. `ScannedRNN(input_size, features, rngs=rngs)` is
for code for reinforcement learning.
"""

from gru_jax.nnx.gru import GRU as GRU
from gru_jax.nnx.net import Net as Net
from gru_jax.nnx.scanned_rnn import ScannedRNN as ScannedRNN
