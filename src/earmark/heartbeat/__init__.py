"""The heartbeat: the always-on loop that gives tasks to models within their budgets."""
