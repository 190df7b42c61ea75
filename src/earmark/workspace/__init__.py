"""What the command line, the service and the heartbeat share: everything open on one store."""
