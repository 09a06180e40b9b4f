"""A sequence to a sequence, and how such layers compose.

xs -> recurrent -> dropout -> bidirectional -> pool -> dense -> ys
"""
