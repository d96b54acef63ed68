# Every target works from a bare clone: the first one makes the virtual environment.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
UNSLOTH := .venv/unsloth/.installed
LABEL_STUDIO := .venv/label-studio/.installed
SEEDS ?= 1 2 3

.PHONY: demo study test lint review viz mlflow bench base-model

demo: $(READY)  ## the whole way on rendered photos: data, SFT, GRPO, evaluation, report
	$(BIN)/kedro run --env demo

study: $(READY)  ## the demo and GRPO without SFT, three times: mean and spread of every stage
	$(BIN)/kedro run --env demo --tags ingest
	for seed in $(SEEDS); do $(BIN)/kedro run --env demo --pipelines study --params \
		data_dir=data/08_reporting/study/$$seed,raw_dir=data/01_raw/rendered,sft_training.seed=$$seed,grpo_training.seed=$$seed \
		|| exit 1; done
	$(BIN)/kedro run --env demo --pipelines study_table

# Several processes of several threads each would crawl.
test: $(READY) $(UNSLOTH) $(LABEL_STUDIO)  ## all tests, on all cores
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses logical --dist loadfile

lint: $(READY)  ## style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

review: $(READY) $(LABEL_STUDIO)  ## the inspection's reports in Label Studio, http://127.0.0.1:8080
	$(BIN)/kedro review --env demo

viz: $(READY)  ## the lineage in a browser, http://127.0.0.1:4141
	$(BIN)/kedro viz run --env demo --host 127.0.0.1 --port 4141

mlflow: $(READY)  ## the runs in a browser, http://127.0.0.1:5000
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db --host 127.0.0.1 --port 5000

bench: $(READY)  ## one script a claim; each prints its ratio against a peer of the same run
	for script in benchmarks/*.py; do echo "== $$script" && $(BIN)/python $$script || exit 1; done

base-model: $(READY)  ## remakes models/tiny_qwen2_5_vl from its recipe (more than an hour)
	$(BIN)/kedro run --env demo --pipelines base_model

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo 'Making .venv, once: downloads of some 3 GB, most of them PyTorch; three minutes or more, 7 GB on disk.'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,baselines,serve,viz,cluster,dev]'
	touch $@

# Beside the environment: on a CPU only tests can use it, and it would slow every start. Of what it depends on, the
# rest needs a GPU.
$(UNSLOTH): pyproject.toml constraints.txt $(READY)
	@echo 'Adding Unsloth in .venv/unsloth for its tests, once: a minute or less, 0.3 GB on disk.'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps --target .venv/unsloth --upgrade \
		unsloth unsloth_zoo bitsandbytes
	touch $@

# It wants other versions of much that this project uses.
$(LABEL_STUDIO): constraints-label-studio.txt
	@echo 'Making .venv/label-studio for the review, once: a minute or two, 1 GB on disk.'
	$(PYTHON) -m venv --clear .venv/label-studio
	.venv/label-studio/bin/pip install --quiet --constraint constraints-label-studio.txt label-studio
	touch $@
