"""A fixture for tests whose programs run once or twice: compiling them is what takes the time."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def compile_fast():
    """Tells XLA not to try hard."""
    option = "jax_disable_most_optimizations"
    before = jax.config.read(option)
    jax.config.update(option, True)
    yield
    jax.config.update(option, before)
