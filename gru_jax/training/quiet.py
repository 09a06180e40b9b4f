"""Orbax without its words: what it has to say of a file, an error of ours says once."""

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps a damaged file from being reported a second time, by the reader's own threads."""
    hook, disabled = sys.unraisablehook, logging.root.manager.disable
    sys.unraisablehook = lambda _: None
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception:
        time.sleep(0.5)  # For the reads still under way to fail while nobody listens.
        raise
    finally:
        sys.unraisablehook = hook
        logging.disable(disabled)
