"""The ground floor: errors in one grammar, how values and results are shown,
precision by scope, when a signal may end what.

Nothing here knows a network, a file or a theory; every other room may import
it.
"""
