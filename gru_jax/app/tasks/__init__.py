"""Tasks by name; another one is another row."""

from gru_jax.app.tasks.forecast import FORECAST
from gru_jax.app.tasks.japanese_vowels import JAPANESE_VOWELS
from gru_jax.app.tasks.moving_digits import MOVING_DIGITS
from gru_jax.app.tasks.task import Task

DEFAULT = JAPANESE_VOWELS
TASKS: dict[str, Task] = {task.name: task for task in (DEFAULT, MOVING_DIGITS, FORECAST)}
