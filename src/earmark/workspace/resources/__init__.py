"""The resources: the JSON form of each, which the API, its schema and the command line share."""
