#!/bin/bash
# Anywhere: each recording is judged against the baselines of its project. Fails if one of them does.
set -eu

mkdir -p report
status=0
for project in packages/*/; do
  name=$(basename "$project")
  pytest-nsys judge "recordings/$name" --baseline-dir="$project/baselines" --report-name="$name" \
    --junit="report/$name.xml" --html="report/$name.html" --markdown="report/$name.md" || status=1
done
exit "$status"
