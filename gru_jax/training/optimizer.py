"""The default optimiser: AdamW on clipped gradients, with a warm-up and a cosine decay.

    rate_t = peak * t / warmup                                         t < warmup
    rate_t = peak * (1 + cos(pi (t - warmup) / (steps - warmup))) / 2  otherwise

A training step takes any Optax optimiser in its place.
"""

import optax


def make_optimizer(
    learning_rate: float,
    *,
    steps: int,
    warmup: float = 0.1,
    clip_norm: float = 1.0,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """Builds AdamW with gradient clipping, a linear warm-up and a cosine decay to zero.

    For float32 and wider: in float16 Adam's epsilon, 1e-8, is zero.

    Args:
        learning_rate: the rate at the end of the warm-up.
        steps: the number of steps in all.
        warmup: share of the steps in the warm-up; the first step has rate zero.
        clip_norm: the largest norm of the gradient, over all parameters together.
        weight_decay: the weight decay, decoupled from the gradient.

    Raises:
        ValueError: if `steps` is below 1, or `warmup` is not between 0 and 1.

    References:
        Loshchilov and Hutter (2019), "Decoupled weight decay regularization".
        Pascanu et al. (2013), "On the difficulty of training recurrent neural networks".
    """
    if steps < 1 or not 0 <= warmup <= 1:
        raise ValueError(
            "make_optimizer: steps must be 1 or more and 0 <= warmup <= 1, "
            f"got {steps} and {warmup}."
        )
    warmup_steps = min(round(warmup * steps), steps - 1)
    schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup_steps, steps)
    return optax.chain(
        optax.clip_by_global_norm(clip_norm), optax.adamw(schedule, weight_decay=weight_decay)
    )
