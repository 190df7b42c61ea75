"""Channels: the ways a nudge leaves this program; each stands in a file of its own."""
