"""``hermesctl activate``: a home made what a manifest declares, without taking from it what is its user's.

One run reads everything first, and changes something only when all of it makes sense. What was applied last is
remembered beside (``ledger``), so that what is no longer declared can go again if nobody has changed it.
"""
