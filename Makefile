# make demo    the five steps of federated learning on this machine, from nothing
# make ui      the same Airflow in the browser, until Ctrl-C; PORT=8081 asks for a port
# make test    all tests; ARGS="tests/unit -k upload" goes to pytest
# make bench   figures beside the limits measured in the same run; ARGS="upload messages" runs only these
# make chaos   faults on real processes of two organisations; ARGS="--seed 7 --fault broker --job lr" chooses
# make venv    only the virtual environment
# make clean   removes all that the others made, Airflow's home with its tables and models too
#
# PYTHON=/path/to/python3.12 chooses the Python, VENV=/path/to/venv an environment in which nothing is installed.

export ARGS PORT PYTHON VENV

help:
	@sed -n '/^# make/s/^# //p' Makefile

demo ui test bench chaos venv clean:
	@tools/run $@

.PHONY: help demo ui test bench chaos venv clean
