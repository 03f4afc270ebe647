#!/bin/bash
# A machine with two GPUs: two containers record at once, a third judges. Exits as the gate does.
set -eu

rm -rf recordings
for gpu in 0 1; do
  docker run --rm --gpus="device=$gpu" --user="$(id -u):$(id -g)" --env=HOME=/tmp \
    --volume="$PWD:/project" --workdir=/project registry.example.com/project-with-nsys \
    pytest --nsys --splits=2 --group="$((gpu + 1))" \
    --nsys-record="recordings/$gpu" --nsys-part="$gpu/2" &
done
wait
docker run --rm --user="$(id -u):$(id -g)" --volume="$PWD:/project" --workdir=/project \
  registry.example.com/project pytest-nsys judge recordings
