"""Servers that tests share: each is started for the first test that asks for it."""

pytest_plugins = [
    "tests.servers.oss_fixture",
    "tests.servers.s3_fixture",
    "tests.servers.gcs_fixture",
    "tests.servers.azure_fixture",
]
