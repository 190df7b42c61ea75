"""What Earmark costs, as ratios to what the machine can do at all; `python -m benchmarks`."""
