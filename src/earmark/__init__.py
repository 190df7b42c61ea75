"""Earmark runs AI agent work under budgets that cannot be overspent."""
