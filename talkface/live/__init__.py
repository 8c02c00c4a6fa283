"""Live video: the face speaks while the sound is still coming (`talkface render PHOTO - --sound-format ...`).

source   raw sound from a pipe, with the times of its arrival, and silence where none comes
sound    the last seconds of it
hearing  the features of a frame from the sound until its look-ahead ends, and the lips
frames   the pictures, each as soon as its sound is there
output   fragmented mp4 or raw frames, to a file or a pipe
write    all of it together
"""
