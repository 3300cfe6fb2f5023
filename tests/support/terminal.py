"""Runs a program on a terminal of its own: COUNT, then each question and what is typed then, then the program."""

import os, pty, select, sys, termios
count = int(sys.argv[1])
dialog = sys.argv[2:2 + 2 * count]
program = sys.argv[2 + 2 * count:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(program[0], program)
seen, screen = b'', b''
def read():
    global seen, screen
    chunk = os.read(terminal, 1024)
    seen, screen = seen + chunk, screen + chunk
try:
    for asked, typed in zip(dialog[::2], dialog[1::2]):
        while asked.encode() not in seen:
            if not select.select([terminal], [], [], 30)[0]:
                os.kill(pid, 9)
                raise OSError('not asked: ' + asked)
            read()
        seen = seen.split(asked.encode(), 1)[1]
        os.write(terminal, typed.encode())
    while select.select([terminal], [], [], 60)[0]:
        read()
except OSError as error:
    screen += str(error).encode()
pid, status = os.waitpid(pid, 0)
print(screen.decode(errors='replace'))
try:
    print('echo is', 'on' if termios.tcgetattr(terminal)[3] & termios.ECHO else 'off')
except termios.error:
    print('echo is unknown')
sys.exit(os.waitstatus_to_exitcode(status))
