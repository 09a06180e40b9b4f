"""Tasks by name; another one is another row."""

from gru_jax.app.tasks.agent import AGENT
from gru_jax.app.tasks.classify import CLASSIFY
from gru_jax.app.tasks.forecast import FORECAST
from gru_jax.app.tasks.japanese_vowels import JAPANESE_VOWELS
from gru_jax.app.tasks.language import LANGUAGE
from gru_jax.app.tasks.moving_digits import MOVING_DIGITS
from gru_jax.app.tasks.music import MUSIC
from gru_jax.app.tasks.task import Task

ALL = (JAPANESE_VOWELS, CLASSIFY, FORECAST, LANGUAGE, MUSIC, MOVING_DIGITS, AGENT)
TASKS: dict[str, Task] = {task.name: task for task in ALL}
