"""All that trains the detector of yolox_ops.yolox, evaluates it, predicts with it and exports it, and the commands for
that. The ops and the detector import nothing from here."""
