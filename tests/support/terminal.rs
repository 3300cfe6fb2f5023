//! The program on a terminal of its own: each question is waited for, then answered.

use std::process::{Command, Stdio};

use super::program::{Setup, binary};

/// How it ended and what was on the screen, with a last line that says whether typing is shown again.
#[derive(Debug)]
pub struct Screen {
    pub code: Option<i32>,
    pub shown: String,
}

impl Screen {
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.shown);
        self
    }

    /// Whether what is typed is shown again.
    pub fn has_echo(&self) -> bool {
        self.shown.ends_with("echo is on\n")
    }
}

/// Runs `backupctl -c config.toml …` of `setup`; `dialog` has each question's words and what is typed then.
pub fn converse(setup: &Setup, arguments: &[&str], dialog: &[(&str, &str)]) -> Screen {
    let script = "
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
sys.exit(os.waitstatus_to_exitcode(status))";
    let words = dialog.iter().flat_map(|(asked, typed)| [*asked, *typed]);
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script, &dialog.len().to_string()])
        .args(words)
        .arg(binary())
        .arg("-c")
        .arg(setup.path("config.toml"))
        .args(arguments)
        .current_dir(setup.path(""))
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("TZ", "UTC"), ("TERM", "dumb")])
        .env("HOME", setup.path(""))
        .stdin(Stdio::null())
        .output()
        .expect("python3");
    Screen {
        code: output.status.code(),
        shown: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}
