"""Keras' `GRU`, `LSTM`, their cells, models of these, and their files.

    layer or model  --from_keras-->  net, params  --to_keras-->    model
    .keras or .h5   --interop.read-->             --interop.write-->  .keras or .h5

The columns of a GRU are in the order z, r, c, and its z weighs the old state. It has both forms,
with one bias a gate or, with the reset after the product, two. The columns of an LSTM are in the
order i, f, g, o.
"""
