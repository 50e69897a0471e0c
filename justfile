# Shiftwise: recipes. `just` lists them; `./just` works where just itself is not installed.

set shell := ["bash", "-euo", "pipefail", "-c"]

# Settings of `quantize`, as variables; `just quantize NAME=value` sets them too.
MODEL := ""
DATA := ""
RECIPE := ""
SAMPLES := ""
PRESET := ""
FINETUNE := ""
EVAL_DATA := ""
LABELS := ""
ENGINE := ""
OUT := ""
CONFIG := ""
FIX_DIM := ""
FORCE := ""

export SHIFTWISE_SETTINGS := "MODEL=" + MODEL + "\nDATA=" + DATA + "\nRECIPE=" + RECIPE + "\nSAMPLES=" + SAMPLES + "\nPRESET=" + PRESET + "\nFINETUNE=" + FINETUNE + "\nEVAL_DATA=" + EVAL_DATA + "\nLABELS=" + LABELS + "\nENGINE=" + ENGINE + "\nOUT=" + OUT + "\nCONFIG=" + CONFIG + "\nFIX_DIM=" + FIX_DIM + "\nFORCE=" + FORCE

# List the recipes
default:
    @just --list --unsorted --justfile "{{ justfile() }}"

# Run all stages on a model: MODEL=m.onnx DATA=dir [RECIPE=r.toml] [SAMPLES=100] [PRESET=xint8] [FINETUNE=least-squares|adaround|adaquant|none] [EVAL_DATA=dir] [LABELS=labels.csv] [ENGINE=embedded] [CONFIG=run.toml] [FIX_DIM=name=1] [FORCE=1] [OUT=runs/m]
[positional-arguments]
quantize *SETTINGS: build
    @cd "{{ invocation_directory() }}" && "{{ justfile_directory() }}/scripts/quantize" "$@"

# Quantize the network of examples/demo and print float and quantized accuracy
demo: build
    @scripts/quantize MODEL=examples/demo/model.onnx DATA=examples/demo/calibration RECIPE=examples/demo/recipe.toml EVAL_DATA=examples/demo/evaluation OUT=runs/demo

# Build the programs
build:
    @cargo build --release --locked

# Run the tests
test:
    scripts/test

# Everything that must pass: format, lints, tests, documentation, dependencies
check: lint test
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet
    scripts/deny

# Format and lints only
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked --quiet -- -D warnings

# As `check`, with the slow cases: whole reference models, kills at many moments
check-all: check
    SHIFTWISE_SLOW=1 scripts/test
    "{{ just_executable() }}" --justfile "{{ justfile() }}" large-model

# Prepare a model of more than 2 GiB, and check memory, files and messages: [FOLDER [MATRICES]]
large-model *ARGS: build
    "$(scripts/python)" scripts/large-model {{ ARGS }}

# Try damaged and forged files on a target of fuzz/ (stats, checkpoint); needs nightly Rust and cargo-fuzz
fuzz TARGET="stats" SECONDS="60":
    cargo +nightly run --locked --quiet --manifest-path fuzz/Cargo.toml --bin seeds
    cargo +nightly fuzz run {{ TARGET }} -- -max_total_time={{ SECONDS }}

# Write docs/operators.md from the tables of the engine
operators:
    SHIFTWISE_WRITE_DOCS=1 cargo test --locked --quiet --package shiftwise-engine --test operators

# Print ratios of speed and memory: calibration against a bare run
bench *ARGS:
    cargo bench --locked --package shiftwise-calibrate -- {{ ARGS }}

# Print ratios of speed and memory: the embedded engine against ONNX Runtime, on MODELS or on all
bench-engines *MODELS:
    SHIFTWISE_PYTHON="$(scripts/python)" cargo bench --locked --package shiftwise-engine --bench against_onnxruntime -- {{ MODELS }}

# Print time per node of preparing graphs of 5,000 and 50,000 nodes
bench-preprocess:
    cargo bench --locked --package shiftwise-preprocess --bench scale

# Print speed of finetuning beside the peak of matrix products, on the layers of MODELS or of all
bench-finetune *MODELS:
    cargo bench --locked --package shiftwise-finetune --bench layers -- {{ MODELS }}

# Print seconds and peak memory of all stages on a ResNet-50 with random weights: [SAMPLES [FOLDER]]
bench-job *ARGS: build
    "$(scripts/python)" scripts/bench-job {{ ARGS }}

# Format the code
fmt:
    cargo fmt --all
