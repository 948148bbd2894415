"""The words of a command to a checked configuration: recipes, overrides, every fault with its file and line."""
