#!/bin/bash
# One of several agents with a GPU: records its part of the suite.
set -eu

python3 -m venv .venv
.venv/bin/pip install --editable . pytest-nsys pytest-split
export PATH="$PWD/.venv/bin:$PATH"

part=$BUILDKITE_PARALLEL_JOB # from 0 on
parts=$BUILDKITE_PARALLEL_JOB_COUNT
rm -rf recordings # a checkout is used again
# A test that fails is in the recording, and fails the judge.
pytest --nsys --splits="$parts" --group="$((part + 1))" \
  --nsys-record="recordings/$part" --nsys-part="$part/$parts" \
  || test -f "recordings/$part/recording.json"
