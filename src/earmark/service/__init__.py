"""The service: health, metrics, the API and the pages over HTTP."""
