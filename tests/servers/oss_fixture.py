"""Starts the oss server of the tests."""
