"""The canonical store: SQL lives here and nowhere else."""
