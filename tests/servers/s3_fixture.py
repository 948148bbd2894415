"""Starts the s3 server of the tests."""
