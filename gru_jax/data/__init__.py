"""Data sets that come with the package, and batches from any."""
