"""Stages: who they are, where they are looked up, and the kinds of them that can be run."""
