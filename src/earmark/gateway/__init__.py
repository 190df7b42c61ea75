"""The gateway: any client's model requests, passed through byte for byte under a budget."""
