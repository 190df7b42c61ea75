"""Budgets: paths, limits and the windows that cut time; pure values, no I/O."""
