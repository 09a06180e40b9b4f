"""The checker of the typed pass: beartype, where an int is a float as it is for a static checker.

pytest -m "not untyped" --jaxtyping-packages=gru_jax,typecheck.typecheck
"""

from beartype import BeartypeConf, beartype

typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))
