# The project's tasks. `just` lists them. Run them in a virtual environment.

_list:
    @just --list --unsorted

# Install everything that the other tasks need
setup:
    pip install -e '.[lint,docs]'
    pre-commit install

# Run the tests but the slow ones; takes pytest's options
test *options:
    pytest {{ options }}

# Run the slow tests: long sequences, whole trainings, notebooks
slow *options:
    pytest -m slow {{ options }}

# Run the linters, the type checker and the import contracts
lint:
    ruff check .
    ruff format --check .
    find gru_jax tests -name '*.cc' -o -name '*.cu*' -o -name '*.h' | xargs clang-format --dry-run -Werror
    pyright
    lint-imports

# Format Python and C++
format:
    ruff check --fix .
    ruff format .
    find gru_jax tests -name '*.cc' -o -name '*.cu*' -o -name '*.h' | xargs clang-format -i

# Compile the kernel; after the first time, only the files that changed
kernel:
    pip install -q scikit-build-core cmake ninja
    pip install --no-build-isolation -Cbuild-dir=build/native -e .

# Check the kernel without Python: against plain loops, with sanitizers
kernel-test:
    tests/kernels/cpu/run.sh

# Check the page: its JavaScript, the numbers that node computes, and what a reader sees in Chromium
page-test:
    npm install --prefix tests/plot/web_page --silent --no-audit --no-fund --no-package-lock
    PATH="$PWD/tests/plot/web_page/node_modules/.bin:$PATH"; \
    prettier --check --log-level warn --print-width 100 gru_jax/plot/web_page/web/*.js gru_jax/plot/web_page/web/*.css tests/plot/web_page/*.mjs && \
    tsc -p tests/plot/web_page/jsconfig.json && \
    eslint --no-config-lookup -c tests/plot/web_page/eslint.config.mjs gru_jax/plot/web_page/web tests/plot/web_page
    pytest -q -m browser

# Build the sdist and this machine's wheel in dist, and check them; `just wheel aarch64`: ARM64's
wheel *machine:
    .ci/wheel {{ machine }}

# Execute notebooks (all, or those named) and store their outputs
notebooks *names:
    python notebooks/execute.py {{ names }}

# Write the tables of the pages again, from the measured files
tables:
    for name in cells classify digits ensembles forecast images lstm memory speed vowels readme published; do \
        python notebooks/figures/$name.py || exit 1; \
    done

# Build the site in build/docs; `just docs -D nb_execution_mode=off` takes the stored outputs
docs *options:
    sphinx-build -W --keep-going notebooks build/docs {{ options }}

# Check that the links to other sites lead somewhere
links:
    sphinx-build -b linkcheck -D nb_execution_mode=off notebooks build/links

# Run all checks in new virtual environments, as for a release
ci:
    .ci/run
