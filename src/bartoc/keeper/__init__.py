"""The keeper: a small process that is the parent of all commands of a worker, and outlives bartoc.

Why a process of its own: bartoc may die, restart and be upgraded while commands run, and nothing
that they print, nor how they end, is lost. It is one long-lived process because a Python process
for each run would cost five times the CPU of a fork from here. It uses the standard library
alone, has one thread, no network and no configuration, and nothing here imports any other part
of barto, so that it starts fast and stays small.

    __main__.py   the program: `python -I -S keeper STATE_DIRECTORY`
    server.py     the loop: one connection, the lock, what a predecessor left
    attempt.py    one attempt: its steps, its output, its end
    child.py      between fork and exec
    tree.py       all processes of an attempt, and how to end them
    files.py      what stands in the files and on the socket

What it keeps stands in files below the state directory, and the socket only says how far they
have got (`at`), so that a bartoc that was away and one that was there read the same thing:

    keeper.sock   where bartoc speaks with it
    keeper.lock   held for life (flock), with its pid: a new keeper touches nothing before it has it
    keeper.log    what it had to say
    runs/<run id in hex>.<attempt>/
        status           a line of JSON for each thing that happened (`files.LINES`), first the
                         plan: the boot, and how to find the processes
        out.<position>   output frames from that position on, about 1 MiB each

**Whether an attempt started** can be told after any crash. The directory appears under its name
with the plan in it, by a rename: a repeat finds it and starts nothing. The child waits on a pipe
until its pid is written; end of file instead of go, and it leaves without exec. So in this boot,
no directory, or one without a pid, proves that it did not start; after another boot, or with a
pid, it may or may not have.

None of this is synced to the disk before the start: what was written outlives the keeper's death
in the page cache, and after the host's death the answer is "may or may not have started" whatever
the files say. The end is synced, output first.
"""
