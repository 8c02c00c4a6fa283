"""Networks, losses and checkpoints: torch in, torch out."""
