"""WHAT was asked: frozen dataclasses and their checks. Knows no other room, no config library, no Arrow."""
