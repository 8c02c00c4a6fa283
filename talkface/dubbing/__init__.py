"""Dubbing of a video: each frame keeps its own head, and its lips follow another sound.

track      the first pass: one person's face in every frame, as points
geometry   the alignment of every frame, its lips and its lips at rest, free of jitter
playback   the second pass: the frames in the order of the result, also backwards
mouth      the mouth of a shot: the generator on one frame of the shot, and its paste into every frame
scene      both passes together: a video and speech features to frames
sound      the video's own sound below the new one
"""
