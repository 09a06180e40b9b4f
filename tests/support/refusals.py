"""What an error says, to the letter."""

import contextlib
import re

import pytest


@contextlib.contextmanager
def refused(message):
    """Asserts that the block raises ValueError with this message and no other word."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        yield
    assert str(caught.value) == message


@contextlib.contextmanager
def blamed(path, part):
    """Asserts that the block raises ValueError: one line that begins with a file and has a part."""
    with pytest.raises(ValueError, match=re.escape(part)) as caught:
        yield
    assert str(caught.value).startswith(f"{path}")
    assert "\n" not in str(caught.value)
