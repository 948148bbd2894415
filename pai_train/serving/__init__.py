"""What a trained model is used for: evaluate, and predict into a table or files."""
