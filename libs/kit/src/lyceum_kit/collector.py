"""Python's cyclic garbage collector, for processes that read thousands of events at once."""

import gc


def settle() -> None:
    """Once everything is built: what is there now stays for ever, so it is not looked through again. And what is made from
    now on is looked at much less often than at every 700 objects: of the time it takes to read an event's headers, half
    went into looking at those read before it."""
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    gc.enable()
