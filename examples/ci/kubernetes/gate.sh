#!/bin/bash
# The job of CI; its number is in CI_PIPELINE_ID. Exits as the gate does.
set -euo pipefail

sed "s/RUN/$CI_PIPELINE_ID/g" record.yaml | kubectl apply -f -
# Where a pod never succeeds, this wait ends with the Job's deadline; then what is there is judged, and lacks a part.
kubectl wait --for=condition=complete --timeout=65m "job/gpu-tests-$CI_PIPELINE_ID" || true
sed "s/RUN/$CI_PIPELINE_ID/g" judge.yaml | kubectl apply -f -
kubectl logs --follow --pod-running-timeout=10m "job/gpu-gate-$CI_PIPELINE_ID"
kubectl wait --for=condition=complete --timeout=1m "job/gpu-gate-$CI_PIPELINE_ID"
