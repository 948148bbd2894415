"""BYTES: url to filesystem, ranged reads, atomic publish, exclusive create, one error mapper. Knows no rows."""

from pai_train.storage.contracts import ByteRange, ObjectInfo
from pai_train.storage.errors import (
    AccessRefused,
    BucketMissing,
    ObjectChanged,
    ObjectExists,
    ObjectMissing,
    StoreUnavailable,
    mapped,
)
from pai_train.storage.options import Access, CacheOptions, Limits, StorageOptions
from pai_train.storage.publish import FileEntry, Manifest, NotAManifest, fetch, publish, read_manifest, withdraw
from pai_train.storage.registry import Stores, open_store, served_schemes
from pai_train.storage.scratch import Scratch
from pai_train.storage.store import Store
from pai_train.storage.urls import basename, display, is_glob, is_url, join, matches, resolve

__all__ = [
    "Access",
    "AccessRefused",
    "BucketMissing",
    "ByteRange",
    "CacheOptions",
    "FileEntry",
    "Limits",
    "Manifest",
    "NotAManifest",
    "ObjectChanged",
    "ObjectExists",
    "ObjectInfo",
    "ObjectMissing",
    "Scratch",
    "StorageOptions",
    "Store",
    "StoreUnavailable",
    "Stores",
    "basename",
    "display",
    "fetch",
    "is_glob",
    "is_url",
    "join",
    "mapped",
    "matches",
    "open_store",
    "publish",
    "read_manifest",
    "resolve",
    "served_schemes",
    "withdraw",
]
