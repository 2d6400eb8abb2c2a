"""`ctx.map`: one function over many items, in processes forked from the step's worker.

    call.py     what was asked for, checked
    items.py    which item is next, and which are over: pure
    record.py   what is kept of it in the run's folder, for the next attempt and for who looks
    member.py   the process that works on one item after another
    fan.py      the worker's side: members, time, results

A member is forked with the items in its memory, so that neither they nor the function cross a boundary; an item is
named to it by its number, and a result comes back as JSON, or as the name of the file that keeps it.
"""
