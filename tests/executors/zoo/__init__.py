"""Bad steps: what they do, how each is to end in each executor, and what must not be left behind.

animals.py     the kinds, by executor
functions.py   as functions
coroutines.py  as coroutines of one loop
programs.py    as programs
visit.py       one of them, with healthy steps beside it
"""
