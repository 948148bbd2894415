"""Starts the gcs server of the tests."""
