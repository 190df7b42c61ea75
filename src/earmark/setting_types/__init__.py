"""What tables of `earmark.toml` are made of: readers of single settings, and their types."""
