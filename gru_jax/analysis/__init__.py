"""Numbers from a trace: gate saturation, timescales, gradient norms, Lyapunov exponents."""
