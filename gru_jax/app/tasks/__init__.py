"""The settings of each task, by its name: all that --help needs. The tasks are in `table`."""

from gru_jax.app.tasks.agent_config import AgentConfig
from gru_jax.app.tasks.classifier_config import ClassifyConfig, VowelsConfig
from gru_jax.app.tasks.config import Config
from gru_jax.app.tasks.digits_config import DigitsConfig
from gru_jax.app.tasks.forecast_config import ForecastConfig
from gru_jax.app.tasks.language_config import LanguageConfig
from gru_jax.app.tasks.music_config import MusicConfig

DEFAULT = "japanese_vowels"
CONFIGS: dict[str, type[Config]] = {
    DEFAULT: VowelsConfig,
    "classify": ClassifyConfig,
    "forecast": ForecastConfig,
    "language": LanguageConfig,
    "music": MusicConfig,
    "moving_digits": DigitsConfig,
    "agent": AgentConfig,
}
EXAMPLES = {"classify": DEFAULT}
"""Tasks for a user's file, and the task that stands in without one."""
