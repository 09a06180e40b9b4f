"""Times gru_jax beside oneDNN, as `gru-jax bench` does: `python notebooks/figures/onednn.py`.

It builds the driver of oneDNN from tests/app/onednn, which needs Debian's libdnnl-dev, checks that
both compute the same numbers, and writes `onednn.json` beside this file. `--rounds 3` takes a
minute, the default of 11 rounds a few minutes.
"""

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from gru_jax.app.bench import measure, results
from gru_jax.app.bench.contenders import BOTH, CONTENDERS, OURS, Contender
from gru_jax.app.bench.names import MEASURES
from gru_jax.app.bench.problem import parse_sizes

FILE = Path(__file__).parent / "onednn.json"
SUPPORT = Path(__file__).parent.parent.parent / "tests" / "support"
VERSIONS = ("python", "gru_jax", "jax", "jaxlib", "numpy")


def time_onednn(sizes, rounds):
    """Returns the text of a JSON file, in the schema of `gru-jax bench --json`."""
    sys.path.insert(0, str(SUPPORT))
    from onednn_driver import build, make_onednn, version

    with tempfile.TemporaryDirectory() as folder:
        driver = build(Path(folder))
        onednn = Contender(BOTH, partial(make_onednn, driver), {}, ("cpu",))
        contenders = {OURS: CONTENDERS[OURS], "onednn": onednn}
        run = measure.measure(sizes, contenders, MEASURES, rounds, tell)
        *_, rows = run
        onednn_version = version(driver)
    if reasons := [f"{row.label}: {row.reason}" for row in rows if row.reason]:
        raise SystemExit("\n".join(reasons))
    content = json.loads(results.dumps(rows, rounds))
    versions = {name: content["versions"][name] for name in VERSIONS}
    content["versions"] = versions | {"onednn": onednn_version}
    return results.lay_out(content)


def tell(size, stage, label):
    """Prints one line for each stage of a size."""
    if (label, stage) == (f"{OURS} (before)", "compare"):
        print(size, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    FILE.write_text(time_onednn(parse_sizes(None, images=False), parser.parse_args().rounds))
    print(f"  {FILE}")
