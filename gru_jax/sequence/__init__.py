"""A cell over whole sequences: arguments, memory policy, backends, meshes, the trace."""
