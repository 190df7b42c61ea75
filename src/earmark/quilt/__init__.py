"""The quilt: the agents' shared memory."""
