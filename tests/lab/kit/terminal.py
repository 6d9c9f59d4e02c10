"""A person at a terminal: runs a program on one, types, turns its size, waits for what it shows.

terminal.py PROGRAM [ARGUMENT...]: steps on standard input, a JSON list of ["type", TEXT], ["see", REGEX] and
["size", ROWS, COLUMNS]; at the end one JSON line with the exit code and all that was shown. A "see" looks only at
what came after the one before it; it has a minute.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time

steps = json.load(sys.stdin)
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[1], sys.argv[1:])
shown, looked, missing = "", 0, None


def read(seconds):
    """False when the program is gone."""
    global shown
    if not select.select([terminal], [], [], seconds)[0]:
        return True
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        return False
    shown += piece.decode(errors="replace")
    return bool(piece)


for word, *rest in steps:
    if word == "type":
        os.write(terminal, rest[0].encode())
    elif word == "size":
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *rest, 0, 0))
    else:
        end, there = time.monotonic() + 60, True
        while not (found := re.search(rest[0], shown[looked:])) and there and time.monotonic() < end:
            there = read(1)
        if not found:
            missing = rest[0]
            os.kill(child, 9)
            break
        looked += found.end()
end = time.monotonic() + 60
while read(1) and time.monotonic() < end:
    pass
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps({"code": code, "shown": shown, "missing": missing}))
