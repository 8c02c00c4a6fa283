"""Faces in pictures: detection, mesh, alignment, paste-back."""
