"""Channels: the ways a nudge leaves this program; each is a file of its own, see `registry`."""
