"""Starts the azure server of the tests."""
