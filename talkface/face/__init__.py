"""Faces in images: detection, mesh landmarks, alignment and paste-back."""
