"""Images that change in time."""

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from gru_jax import plot


def test_every_panel_shows_its_own_image_at_every_step(rng):
    panels = {"large": rng.uniform(size=(5, 4, 6)), "small": rng.uniform(size=(5, 2, 3))}
    moving = plot.video(panels, columns=1, labels=list("abcde"))
    axes = moving._fig.axes
    for t in (0, 3, 4):
        moving._func(t)
        for ax, (name, images) in zip(axes, panels.items(), strict=True):
            assert ax.get_title() == name
            (picture,) = ax.images
            np.testing.assert_array_equal(picture.get_array(), images[t])
            assert picture.get_clim() == (0, 1)
        assert moving._fig.texts[0].get_text() == "abcde"[t]
    boxes = [ax.get_position() for ax in axes]
    assert boxes[0].y0 > boxes[1].y1
    assert boxes[0].width == pytest.approx(boxes[1].width)
    moving._draw_was_started = True  # It is not to be saved.


def test_a_gif_has_every_step(tmp_path, rng):
    moving = plot.video({str(i): rng.uniform(size=(3, 2, 2)) for i in range(5)}, columns=3)
    plot.save_gif(moving, tmp_path / "a.gif", seconds=0.1)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 3


@pytest.mark.parametrize(
    ("panels", "labels", "message"),
    [
        ({}, None, "panels must be images [time, height, width] with the same number of steps, "),
        ({"a": np.ones((3, 2, 2)), "b": np.ones((2, 2, 2))}, None, "panels must be images "),
        ({"a": np.ones((3, 2))}, None, "panels must be images "),
        ({"a": np.ones((0, 2, 2))}, None, "panels must be images "),
        ({"a": np.ones((3, 2, 2))}, ["x"], "labels must have length 3, one for each step, got 1."),
    ],
)
@pytest.mark.untyped
def test_what_does_not_fit_is_refused(panels, labels, message):
    if message.startswith("panels"):
        message = (
            "panels must be images [time, height, width] with the same number of steps, "
            f"got { {name: images.shape for name, images in panels.items()} }."
        )
    with refused(f"video: {message}"):
        plot.video(panels, labels=labels)
    with refused("video: columns must be 1 or more, got 0."):
        plot.video({"a": np.ones((3, 2, 2))}, columns=0)
