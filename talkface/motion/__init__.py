"""A photo that lives: blinks, small turns of the head and raised brows, as functions of time."""
