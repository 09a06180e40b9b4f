"""The compiled kernel: what XLA calls, and which instruction sets it can run with."""

def handlers() -> dict[str, object]:
    """Returns XLA's handlers by the names of their targets."""

def api_version() -> tuple[int, int]:
    """Returns the version of XLA's FFI in the headers that the kernel was built with."""

def fingerprint() -> str:
    """Returns what `library.fingerprint` returned of the sources that the kernel was built from."""

def levels() -> list[str]:
    """Returns the instruction sets that this machine can run, the fastest first."""

def level() -> str:
    """Returns the instruction set in use."""

def use_level(name: str) -> None:
    """Chooses the instruction set; raises ValueError for one that this machine cannot run."""
