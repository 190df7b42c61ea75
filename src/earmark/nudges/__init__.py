"""Nudges: messages that ask a sibling to act, and how they get there."""
