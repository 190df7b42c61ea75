"""Where the order of work is decided: one file per engine."""
