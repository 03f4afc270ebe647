#!/bin/bash
# Judges what the agents have recorded, and says it on the page of the build.
set -eu

python3 -m venv .venv
.venv/bin/pip install pytest-nsys
export PATH="$PWD/.venv/bin:$PATH"

rm -rf recordings
buildkite-agent artifact download "recordings/**/*" .
style=success
pytest-nsys judge recordings --html=nsys.html --markdown=nsys.md || style=error
if [ -f nsys.md ]; then
  buildkite-agent annotate --style "$style" --context nsys < nsys.md
fi
[ "$style" = success ]
