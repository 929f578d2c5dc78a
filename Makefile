# make demo     make music into outputs/          make test    run every test, as CI does
# make lab      open the course in JupyterLab     make help    this list
# POP909=<folder or zip>: use the real data set instead of composed songs. PYTHON=python3.12: choose the interpreter.

BIN := .venv/bin
export POP909
# torch's threads sleep while they wait (nbs/54_speed.ipynb), unless you have said how they should
ifeq ($(OMP_WAIT_POLICY)$(GOMP_SPINCOUNT),)
export OMP_WAIT_POLICY := passive
export GOMP_SPINCOUNT := 0
endif

.PHONY: help demo test lab notebooks clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -3

.venv/.installed: settings.ini setup.py constraints.txt scripts/setup.sh
	@sh scripts/setup.sh

.venv/.developer: .venv/.installed
	@$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@sh scripts/setup.sh browser
	@touch $@

demo: .venv/.installed
	@$(BIN)/msanii demo --out outputs

test: .venv/.developer
	@$(BIN)/python -m pytest -q tests/test_repo.py
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout 900 --nbval-sanitize-with nbs/sanitize.cfg nbs
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests --ignore tests/test_repo.py -rs --durations=12

lab: .venv/.installed
	@$(BIN)/pip install --quiet -c constraints.txt -e '.[course,app]' jupyterlab
	@$(BIN)/jupyter lab nbs

clean:
	rm -rf .venv outputs runs
