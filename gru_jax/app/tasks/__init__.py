"""Ready-made problems on real data."""
