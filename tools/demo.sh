#!/usr/bin/env bash
# The main job in about a minute: rank a few passages, then serve the bundled model and run a small experiment on it.
set -euo pipefail
cd "$(dirname "$0")/.."
rerankd=$1

echo "== ranking =="
"$rerankd" rank --query "how do plants take up water" --top-n 3 <<'DOCS'
Roots absorb water from the soil by osmosis; root hairs enlarge the surface, and the xylem carries the water up to the leaves.
A watering can holds between one and ten litres and should have a fine rose for seedlings.
Transpiration from the leaves pulls a continuous column of water up through the xylem, so plants drink fastest on dry, sunny days.
The power plant draws its cooling water from the river and returns it a few degrees warmer.
DOCS

echo
echo "== experiment: serve on free ports, load over gRPC, write reports =="
"$rerankd" experiment run experiments/06a_concurrency.yaml --set experiment.benchmark_requests=6 --out results
echo
sed -n '1,22p' results/06a_concurrency_results.md
echo "... full report: results/06a_concurrency_results.md"
