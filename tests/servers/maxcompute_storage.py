"""The Storage API of the MaxCompute server."""

OPERATIONS = []
