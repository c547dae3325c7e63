# make demo: pictures in output/ from nothing.  make test: every test.  Both set up .venv first.
# make evaluate: the paper's tables on the bundled model; with QUICK=1 in 20 minutes.
# make comfyui: a ComfyUI with the pack in it, set up where there is none, and started.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
REFERENCES := ilvr/assets/references

.PHONY: demo test comfyui lint fuzz benchmark evaluate pictures package docs clean

demo: $(VENV)/.ready
	$(RUN) -m ilvr sample $(REFERENCES)/scene-lake.png $(REFERENCES)/clip-art.png $(REFERENCES)/scribble.png $(REFERENCES)/pixel-art.png --factor 32 --count 4 --out output
	$(RUN) -m ilvr sweep $(REFERENCES)/scene-lake.png --factors 16 32 64 128 256 --ranges 0 250 500 750 --count 1 --out output
	@echo "Look at output/sheet.png and output/sweep-scene-lake.png."

test: $(VENV)/.ready-test lint
	$(RUN) -m pytest -n 2 --dist loadfile

# COMFYUI_PATH, COMFYUI_REPO and COMFYUI_ARGS choose the ComfyUI and its options.
comfyui:
	PYTHON=$(PYTHON) scripts/comfyui.sh

lint: $(VENV)/.ready-test
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# Damaged files for everything that reads files; a finding is kept in tests/data/fuzz/found.
MINUTES ?= 30
fuzz: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(RUN) -m tooling.fuzz --minutes $(MINUTES)

# The measurements of docs/measured.md: minutes for speed and overhead, hours on two cores for the others.
benchmark: $(VENV)/.ready-test
	$(RUN) -m benchmarks.speed
	$(RUN) -m benchmarks.overhead
	$(RUN) -m benchmarks.unconditional
	$(RUN) -m benchmarks.alternatives
	$(RUN) -m benchmarks.quality
	$(RUN) -m benchmarks.few_steps
	$(RUN) -m benchmarks.latent

# Tables 1 and 2 on the bundled model, into output/evaluate/. Hours on two cores; stop it when you
# like, it goes on where it was. QUICK=1 takes few pictures.
evaluate: $(VENV)/.ready-test
	$(RUN) -m benchmarks.evaluate $(if $(QUICK),--quick)

# The pictures of the READMEs, of docs/, of the help and of the templates; the templates' need a ComfyUI.
pictures: $(VENV)/.ready-test
	rm -rf output/pictures
	$(RUN) -m ilvr sweep $(REFERENCES)/scene-meadow.png --factors 16 32 64 128 256 --ranges 0 250 500 750 --count 1 --seed 1 --out output/pictures
	$(RUN) -m ilvr sample $(addprefix $(REFERENCES)/,clip-art.png clip-art-sunset.png pixel-art.png scribble.png) --factor 32 --count 4 --out output/pictures
	$(RUN) -m ilvr sample $(REFERENCES)/masked-scene.png --mask $(REFERENCES)/mask-scene.png --factor 1 --count 4 --out output/pictures/inpainting
	$(RUN) -m benchmarks.unconditional --model landscapes-64 landscapes-256 --count 32 --out output/pictures
	$(RUN) -m benchmarks.alternatives --count 0 --out output/pictures
	mkdir -p docs
	cp output/pictures/sweep-scene-meadow.png docs/factors-and-ranges.png
	cp output/pictures/sheet.png docs/references.png
	cp output/pictures/inpainting/sheet.png docs/inpainting.png
	cp output/pictures/landscapes-64-ddpm.png docs/unconditional-ddpm.png
	cp output/pictures/landscapes-64-dpmpp_2m.png docs/unconditional-dpmpp_2m.png
	cp output/pictures/landscapes-256-dpmpp_2m.png docs/unconditional-256.png
	cp output/pictures/alternatives.png docs/
	$(RUN) -m scripts.help_pictures
	$(RUN) -m scripts.diffusers_picture
	$(RUN) -m scripts.emblem
	$(RUN) -m scripts.workflows --pictures
	$(RUN) -m scripts.screenshots

# The wheel and the source archive in dist/, checked and tried in an empty environment.
package: $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt build twine
	PYTHON=$(RUN) scripts/package.sh

# The reference of the Python side, from its docstrings, in output/docs.
docs: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt ".[docs]"
	$(RUN) -m mkdocs build --strict

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) output
