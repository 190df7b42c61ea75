"""Admission: the one way money is spent (bound, reserve, call, settle), and its policies."""
