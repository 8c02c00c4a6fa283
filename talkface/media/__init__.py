"""Sound, video and pictures, in and out."""
