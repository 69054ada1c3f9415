"""`yolox-ops compare-assigners`: one model trained on digits with each assigner, and what came of it."""
