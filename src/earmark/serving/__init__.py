"""Sockets and HTTP connections, as the service and the gateway both serve on them."""
