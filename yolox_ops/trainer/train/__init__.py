"""Training: the recipe, the batches, the loop and what it leaves in the run's folder."""
