"""The doors: the one way in for files and texts, the one way out to files,
and what files hold.

Nothing here knows what the numbers mean; every other room reads and
writes through them.
"""
