"""Columns to a Keras model: preprocessing inside, named small models, dotted-path loader."""
