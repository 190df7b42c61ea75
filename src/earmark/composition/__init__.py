"""Graphs of stages: read, identified, checked and priced before anything of them runs."""
