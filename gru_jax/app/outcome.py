"""The outcome of a run: its best parameters, tested.

Run --finish--> result.json, figures/, the task's own files
"""

import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gru_jax.app.inference import evaluate
from gru_jax.app.runs import Run
from gru_jax.files import write_text


def finish(run: Run) -> tuple[dict[str, Any], list[Path]]:
    """Tests the best parameters; writes `result.json`, more files and, with matplotlib, figures.

    With several seeds, does so for each; the run's own `result.json` then has means, standard
    deviations ("_sd") and, under "members", each seed's numbers.

    Returns:
        The result, and the paths of the task's files and of the figures.
    """
    results, written = [], list[Path]()
    facts = {
        "epochs": int(run.progress.epoch),
        "seconds": round(time.perf_counter() - run.started, 2),
        "recurrence": run.problem.recurrence,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    for folder, problem, params, value, epoch in run.seeds():
        trained = problem.with_params(params)
        paths, notes = problem.task.files(trained, problem.parts.test, folder)
        result = evaluate(trained, problem.parts.test) | {
            f"validation_{problem.goal.monitor}": float(value),
            "best_epoch": int(epoch),
            "seed": problem.config.seed,
            **facts,
            **({"notes": notes} if notes else {}),
        }
        write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
        results.append(result)
        written += paths
    result = results[0]
    if run.members:
        result = summarise(results) | facts
        write_text(run.folder / "result.json", json.dumps(result, indent=2) + "\n")
    if not importlib.util.find_spec("matplotlib"):
        return result, written
    from gru_jax.app import figures

    counts, folder = result.get("confusion_matrix"), run.folder / "figures"
    random = run.problem.net.random
    written += figures.draw_training(run.problem.goal, run.rows, counts, folder, random=random)
    for folder, problem, params, *_ in run.seeds():
        trained = problem.with_params(params)
        written += problem.task.figures(trained, problem.parts.test, folder / "figures")
    return result, written


def summarise(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the means of the members' numbers, their standard deviations, and all of them."""
    first, summary = results[0], dict[str, Any](task=results[0]["task"])
    for name in first:
        if name.startswith(("test_", "validation_")):
            values = np.array([result[name] for result in results], float)
            summary |= {name: float(values.mean()), f"{name}_sd": float(values.std(ddof=1))}
    notes = list(dict.fromkeys(note for each in results for note in each.get("notes", ())))
    return summary | {
        "parameters": first["parameters"],
        "members": list(results),
        **({"notes": notes} if notes else {}),
    }
