"""Runs a command with a terminal of so many columns as its standard input and error: pty.py COLUMNS[:LATER] COMMAND...

What the terminal got goes to this program's standard error; the command's standard output is this program's own. With LATER
the terminal has that many columns from its first `items` or ` of ` on, which is marked by `<resized>`.
"""

import fcntl
import os
import re
import struct
import sys
import termios


def resize(terminal, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))


def main():
    columns, _, later = sys.argv[1].partition(":")
    ours, theirs = os.openpty()
    resize(ours, int(columns))
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        os.dup2(theirs, 0)
        os.dup2(theirs, 2)
        os.closerange(3, 64)
        os.environ.setdefault("TERM", "xterm")
        os.execvp(sys.argv[2], sys.argv[2:])
    os.close(theirs)
    seen = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # EIO: nobody has it open any more
            break
        if not some:
            break
        os.write(2, some)
        seen += some
        if later and re.search(rb"items|\d of \d| of ", seen):
            resize(ours, int(later))
            os.write(2, b"\n<resized>\n")
            later = ""
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


main()
