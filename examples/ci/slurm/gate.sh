#!/bin/bash
# The job of CI, in a folder that all nodes see. Exits as the gate does.
set -eu

array=$(sbatch --parsable record.sbatch)
array=${array%%;*} # of several clusters, the name follows
# afterany: judges also what is left where a task failed.
sbatch --wait --dependency="afterany:$array" judge.sbatch "$array"
