"""scikit-learn estimators: a GRU that classifies sequences, gives a number for each, or forecasts.

    model = gj.estimators.GRUClassifier().fit(xs, labels)
    model.predict_proba(xs)

For the classifier and the regressor, `xs` is a list of arrays `[time, channels]`, an array
`[cases, time, channels]`, or a table `[cases, time]` of one channel. NaN is a missing value. The
data, the net and the training are those of `gru-jax train classify`.

    model = gj.estimators.GRUForecaster(horizon=48, target="Demand", time="Time").fit(table)
    model.predict()

The forecaster trains the net of `gru-jax train forecast`. All need the extra `estimators`.
"""

from gru_jax.estimators.forecaster import GRUForecaster as GRUForecaster
from gru_jax.estimators.sequences import GRUClassifier as GRUClassifier
from gru_jax.estimators.sequences import GRURegressor as GRURegressor
