"""The page as a notebook widget."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Shaped

from gru_jax.plot.web_page.build import check_size, join_modules, make_data, read_source
from gru_jax.plot.web_page.horizon import Horizon
from gru_jax.types import ArrayLike, Params

if TYPE_CHECKING:
    import anywidget

RENDER = "export default { render({ model, el }) { return start(model.get('data'), el, false); } };"


def widget(
    net: object,
    params: Params,
    xs: Shaped[ArrayLike, "time ..."],
    *,
    inputs: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    horizon: Horizon | None = None,
    story: bool | str = False,
) -> "anywidget.AnyWidget":
    """Makes a notebook widget of `page`. Needs anywidget: `pip install 'gru_jax[widget]'`.

    Args:
        net: as in `page`, like all arguments.
        params: its parameters.
        xs: one sequence.
        inputs: names of the input's features, if the first GRU reads them.
        classes: class names, if the outputs are logits.
        horizon: describes the last steps' outputs as a forecast.
        story: adds short chapters that explain a GRU; a text says what the net has learned.

    Raises:
        ImportError: if anywidget is not installed.
        ValueError: as from `page`.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        message = "plot.widget needs anywidget: pip install 'gru_jax[widget]'."
        raise ImportError(message) from error
    data, _ = make_data(net, params, xs, inputs, classes, horizon, story)
    script, style = f"{join_modules()}\n{RENDER}\n", read_source("page.css")
    check_size(script + style + json.dumps(data))

    class Widget(anywidget.AnyWidget):
        _esm, _css = script, style
        data = traitlets.Dict().tag(sync=True)

    return Widget(data=data).add_class("gru")
