"""Configuration: `earmark.toml` and `EARMARK_…` variables, as checked, frozen settings."""
