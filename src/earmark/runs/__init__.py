"""Running compositions: the runner, what a run cost, and where its story is kept."""
