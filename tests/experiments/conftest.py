"""What tests of studies share."""

import jax
import pytest


@pytest.fixture
def compiled_fast():
    """Programs that run for milliseconds need not be optimised for seconds."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
