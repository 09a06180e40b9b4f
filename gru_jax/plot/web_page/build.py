"""Builds one HTML file that runs a net."""

import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from gru_jax import files
from gru_jax.plot.web_page.horizon import Horizon, describe_horizon
from gru_jax.plot.web_page.pack import Description, Reader, describe, find_reader, has_cell, pack
from gru_jax.types import ArrayLike, Params

MODULES = (
    "gru net data dom words model address sequence cell unit output chart forecast changes "
    "compare story panel controls main"
).split()
"""The modules of `web/`, each after its imports."""
LIMIT = 3_000_000
"""Maximum size of a page, in bytes."""
MAX_STEPS = 2_000
"""Maximum number of steps: the browser draws each."""


class Page(NamedTuple):
    """A page that runs a net."""

    html: str
    """The whole file."""

    def save(self, path: Path | str) -> None:
        """Writes the file; its name should end in .html."""
        files.write_text(Path(path), self.html)

    def _repr_html_(self) -> str:
        """Returns the page in a frame, for notebooks."""
        source = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{source}" width="100%" height="900" title="GRU"></iframe>'


def page(
    net: Any,
    params: Params,
    xs: Shaped[ArrayLike, "time ..."],
    *,
    inputs: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    horizon: Horizon | None = None,
    title: str = "A GRU at work",
    story: bool | str = False,
) -> Page:
    """Makes a web page that runs a net on one sequence and shows its gates step by step.

    Each number can be taken apart, term by term. The page is one HTML file that works offline: it
    holds the weights, the sequence and a GRU in JavaScript. Readers can change inputs, states and
    gates, and see the effect.

    Args:
        net: a `gru` cell, or layers built from it: `stack`, `bidirectional`, `residual`,
            `recurrent`, `dense`, `embed`, `pool`, `learned_initial_state`. Dropout and Gaussian
            noise do nothing, as in evaluation.
        params: its parameters.
        xs: one sequence of at most 2,000 steps, `[time, input]`, or tokens `[time]` within the
            vocabulary.
        inputs: names of the input's features, if the first GRU reads them.
        classes: class names, if the outputs are logits; the page then shows probabilities.
        horizon: describes the last steps' outputs as a forecast, which the page then draws.
        title: heading of the page.
        story: adds short chapters that explain a GRU with this net's numbers; a text is
            added to the first chapter, to say what the net has learned.

    Raises:
        ValueError: if the page cannot run a cell or layer of the net, `xs` does not fit the net,
            the number of names is wrong, a value is not finite, or the page would exceed 3 MB.
    """
    data, about = make_data(net, params, xs, inputs, classes, horizon, story)
    parts = {
        "title": html.escape(title),
        "about": html.escape(about),
        "style": read_source("page.css"),
        "script": join_modules(),
        "data": json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], read_source("page.html"))
    check_size(text)
    return Page(text)


def check_size(text: str) -> None:
    """Raises ValueError if a page or a widget is larger than `LIMIT`."""
    if (size := len(text.encode())) > LIMIT:
        raise ValueError(
            f"page: net and xs must fit into {LIMIT:,} bytes, at 5.3 for each number, got {size:,}."
        )


def make_data(
    net: Any,
    params: Params,
    xs: Shaped[ArrayLike, "time ..."],
    inputs: Sequence[str] | None,
    classes: Sequence[str] | None,
    horizon: Horizon | None,
    story: bool | str,
) -> tuple[dict[str, Any], str]:
    """Returns the data for `main.js`, and a description of the net.

    Raises:
        ValueError: as from `page`, which documents the arguments.
    """
    architecture = getattr(net, "architecture", None)
    if architecture is None:
        raise ValueError(
            "page: net must be built from options that can be saved, got a net without an "
            "architecture."
        )
    description = describe(architecture, params)
    reader = find_reader(architecture, params)
    if reader is None or not has_cell(architecture):
        raise ValueError(f"page: net must have a gru, got {architecture}.")
    steps = _check_steps(np.asarray(xs), reader)
    size = steps.shape[1]
    if inputs is not None and not reader.recurrent:
        raise ValueError(
            f"page: inputs must be None, as the first GRU reads what {reader.layer.builder} makes "
            f"of them, got {len(inputs)} names."
        )
    if inputs is not None and len(inputs) != size:
        raise ValueError(f"page: inputs must be {size} names, got {len(inputs)}.")
    count = _count_outputs(net, description, reader.vocabulary or size)
    if classes is not None and len(classes) != count:
        raise ValueError(
            f"page: classes must be {count} names, one for each output, got {len(classes)}."
        )
    if classes is not None and horizon is not None:
        raise ValueError("page: classes and horizon must not come together, got both.")
    ahead = None
    if horizon is not None:
        each = 0 if _pools(description) else count
        ahead = describe_horizon(horizon, len(steps), size, each)
    data = {
        "net": description,
        "xs": {"values": pack(steps, "xs must be finite, got nan or inf"), "size": size},
        "inputs": list(inputs or []),
        "classes": list(classes or []),
        "horizon": ahead,
        "story": story if isinstance(story, str) else ("" if story else None),
    }
    return data, f"{architecture}, {len(steps)} steps"


def _check_steps(steps: np.ndarray, reader: Reader) -> np.ndarray:
    """Returns a sequence as [time, input]; raises ValueError unless it fits the first layer."""
    shape, vocabulary = reader.shape, reader.vocabulary
    fits = steps.ndim == 1 + len(shape) and shape in ((None,), steps.shape[1:])
    if not fits or steps.dtype.kind not in ("fiub" if shape else "iu") or not steps.size:
        needed = f"[time, {shape[0] or 'input'}]" if shape else "of tokens [time]"
        raise ValueError(
            f"page: xs must be one sequence {needed}, got {steps.shape} of {steps.dtype}."
        )
    if len(steps) > MAX_STEPS:
        raise ValueError(f"page: xs must have {MAX_STEPS:,} steps or fewer, got {len(steps):,}.")
    if vocabulary is None:
        return steps
    if wrong := steps[(steps < 0) | (steps >= vocabulary)].tolist():
        raise ValueError(f"page: xs must be tokens from 0 to {vocabulary - 1}, got {wrong[0]}.")
    return steps[:, None]


def _count_outputs(net: Any, description: Description, size: int) -> int:
    """Returns the number of outputs of a layer, or of a cell."""
    layer = hasattr(net, "output_size")
    return net.output_size(size) if layer else description["cell"]["hidden"]


def _pools(description: Description) -> bool:
    """Returns whether a net has one output for the whole sequence."""
    return description["kind"] == "pool" or any(map(_pools, description.get("parts", ())))


def join_modules() -> str:
    """Joins the modules into one script.

    Their names are distinct, so imports and exports are removed. So are blocks of types.
    """
    texts = (read_source(f"{name}.js") for name in MODULES)
    text = "\n".join(re.sub(r"^import [^;]*;\n", "", part, flags=re.MULTILINE) for part in texts)
    text = re.sub(r"^ */\*\*(?:[^*]|\*(?!/))*\*/\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^export (\{[^}]*\};\n)?", "", text, flags=re.MULTILINE).replace(
        "// @ts-check\n", ""
    )


def read_source(name: str) -> str:
    """Returns a file of `web/`."""
    return (
        resources.files("gru_jax.plot.web_page").joinpath("web", name).read_text(encoding="utf-8")
    )
