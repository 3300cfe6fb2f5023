//! Child processes: no shell, no inherited environment or descriptors, and no child that outlives its run.
//!
//! A child leads its own process group, which is ended as a whole when its [`Child`] is dropped or a deadline passes.
//! Secrets reach it by an anonymous file in memory. What exit statuses mean is the caller's to judge.

mod group;
mod lines;
mod spawn;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::secret::Secret;
use crate::verdict::{Failed, Judge, Outcome, Verdict};
use group::Group;
pub use lines::LONGEST;
use lines::Lines;

/// Where a program without a path is looked up, and the `PATH` that children get.
pub const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a child's output is still read once the child has ended: something it left behind may hold the pipe.
const DRAIN: Duration = Duration::from_secs(1);

/// A program to run: an absolute path, its arguments, and everything it finds in its environment.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    /// Open in the child under the same numbers.
    descriptors: Vec<OwnedFd>,
    /// None: nothing to read.
    stdin: Option<OwnedFd>,
    /// None: as us.
    user: Option<User>,
    /// No program that it starts has more rights than it has.
    is_confined: bool,
    /// What asks it to end.
    end: Signal,
}

/// Somebody else as whom root starts a child, without any other group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
}

impl Command {
    /// `program` is an absolute path, or a bare name that is looked up in [`SEARCH_PATH`].
    ///
    /// # Errors
    /// `config`: there is no such program.
    pub fn new(program: impl AsRef<Path>) -> Outcome<Self> {
        let environment = [("PATH", SEARCH_PATH), ("LC_ALL", "C")];
        Ok(Self {
            program: find_program(program.as_ref())?,
            arguments: Vec::new(),
            environment: environment
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            descriptors: Vec::new(),
            stdin: None,
            user: None,
            is_confined: false,
            end: Signal::TERM,
        })
    }

    /// As somebody else, which only root can, or else as us; without a way to more rights, such as `sudo`.
    #[must_use]
    pub fn confined(mut self, user: Option<User>) -> Self {
        self.user = user;
        self.is_confined = true;
        self
    }

    /// What asks the child to end, instead of SIGTERM: when this process ends, when the child is stopped or dropped.
    #[must_use]
    pub fn ended_by(mut self, signal: Signal) -> Self {
        self.end = signal;
        self
    }

    /// Opens a directory for the child and all that it starts, and returns the path by which they reach it, whatever the
    /// directories above it allow. The path is as good in this process, as long as it has this command.
    ///
    /// # Errors
    /// `local`: it can't be opened.
    pub fn hand_over(mut self, directory: &Path) -> Outcome<(Self, PathBuf)> {
        use rustix::fs::{Mode, OFlags, open};
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = open(directory, flags, Mode::empty())
            .judge(Verdict::Local, format!("open {}", directory.display()))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
        self.descriptors.push(opened);
        Ok((self, path))
    }

    /// A command with its arguments as the configuration lists them.
    ///
    /// # Errors
    /// `config`: the list is empty, or there is no such program.
    pub fn from_list(words: &[String]) -> Outcome<Self> {
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| Failed::new(Verdict::Config, "run a command: the list is empty"))?;
        Ok(Self::new(program)?.args(arguments))
    }

    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let added = arguments.into_iter().map(|a| a.as_ref().to_owned());
        self.arguments.extend(added);
        self
    }

    /// Adds one variable to the child's otherwise empty environment (`PATH` and `LC_ALL=C` are always there). Never a secret.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.insert(name, value);
        self
    }

    /// Puts `content` into a file in memory that only this child can open, and its path into the variable `name`.
    ///
    /// # Errors
    /// `local`: no memory, no descriptor.
    pub fn secret_file(self, name: &str, content: &Secret) -> Outcome<Self> {
        let file = spawn::file_in_memory(content.expose().as_bytes())
            .judge(Verdict::Local, "make a file in memory for a secret")?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut command = self.env(name, path);
        command.descriptors.push(file);
        Ok(command)
    }

    /// What the child reads as its standard input, as a pipe's reading end. Drop the command once the child was started:
    /// as long as it holds the pipe, whoever fills it doesn't learn that the child has ended.
    #[must_use]
    pub fn stdin(mut self, end: OwnedFd) -> Self {
        self.stdin = Some(end);
        self
    }

    /// Puts `content` into a file in memory that only this child can open, and adds the argument `lead` with its path.
    ///
    /// # Errors
    /// `local`: no memory, no descriptor.
    pub fn file_arg(self, lead: &str, content: &[u8]) -> Outcome<Self> {
        let file = spawn::file_in_memory(content)
            .judge(Verdict::Local, "make a file in memory for an argument")?;
        let path = format!("{lead}/proc/self/fd/{}", file.as_raw_fd());
        let mut command = self.arg(path);
        command.descriptors.push(file);
        Ok(command)
    }

    /// The program's path, for messages.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }
}

fn find_program(program: &Path) -> Outcome<PathBuf> {
    let missing = |seen: String| {
        Failed::new(
            Verdict::Config,
            format!("run {}: {seen}", program.display()),
        )
        .hint("install the program, or give its absolute path")
    };
    if program.is_absolute() {
        return if is_executable(program) {
            Ok(program.to_owned())
        } else {
            Err(missing("no such file, or not executable".to_owned()))
        };
    }
    if program.components().count() != 1 || program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Err(missing(
            "neither an absolute path nor a bare name".to_owned(),
        ));
    }
    SEARCH_PATH
        .split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|path| is_executable(path))
        .ok_or_else(|| missing(format!("not found in {SEARCH_PATH}")))
}

/// Whether `path` is a regular file that this user may execute.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// No core dump of this process, and nobody of the same user reads its memory: secrets are in it.
///
/// What it starts is dumpable again from its exec on, but leaves no core dump either unless it asks for one.
pub fn keep_memory_private() {
    let core = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    // A kernel that refuses the one or the other leaves things as they are without it.
    let _ = setrlimit(Resource::Core, core);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Becomes `program`, in `directory`, with these variables and nothing on its stdin. Comes back only with why it could not.
pub fn replace_with(
    program: &Path,
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
    directory: &Path,
) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear();
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(directory);
    command.stdin(std::process::Stdio::null()).exec()
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By this signal, not necessarily ours.
    Killed(i32),
    /// By us, because it was still at work after this long.
    TimedOut(Duration),
}

impl Ended {
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut(limit) => write!(f, "still at work after {limit:?}, ended"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// A running child. Dropping it ends its whole process group: SIGTERM at once, SIGKILL after a grace.
#[derive(Debug)]
pub struct Child {
    group: Group,
    stdout: Lines<ChildStdout>,
    stderr: Lines<ChildStderr>,
    drained: Option<Instant>,
}

impl Child {
    /// Starts `command`, with nothing on its stdin unless it was given something, in `/`, with umask 077.
    ///
    /// # Errors
    /// `config`: the program can't be executed; `local`: no process, memory or thread left.
    pub async fn start(command: &Command) -> Outcome<Self> {
        let context = || format!("start {}", command.program.display());
        let prepared = spawn::prepare(command).judge(Verdict::Local, context())?;
        let (group, stdout, stderr) =
            group::start(prepared, command.end).await.map_err(|error| {
                let verdict = match error.kind() {
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                        Verdict::Config
                    }
                    _ => Verdict::Local,
                };
                Failed::new(verdict, format!("{}: {error}", context()))
            })?;
        let stdout = ChildStdout::from_std(stdout).judge(Verdict::Local, context())?;
        let stderr = ChildStderr::from_std(stderr).judge(Verdict::Local, context())?;
        Ok(Self {
            group,
            stdout: Lines::new(stdout),
            stderr: Lines::new(stderr),
            drained: None,
        })
    }

    /// The id of the child, and of the process group that it leads.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.group.id()
    }

    /// The next line of output, decoded lossily, cut at [`lines::LONGEST`] bytes; None once the child has ended.
    /// Safe to drop and call again.
    pub async fn line(&mut self) -> Option<(Stream, String)> {
        loop {
            let drained = self.drained.unwrap_or_else(Instant::now);
            tokio::select! {
                line = self.stdout.next(), if self.stdout.is_open() => if let Some(text) = line {
                    return Some((Stream::Stdout, text));
                },
                line = self.stderr.next(), if self.stderr.is_open() => if let Some(text) = line {
                    return Some((Stream::Stderr, text));
                },
                _ = self.group.ended(), if self.drained.is_none() => {
                    self.drained = Some(Instant::now() + DRAIN);
                }
                () = sleep_until(drained), if self.drained.is_some() => return None,
                else => return None,
            }
            if self.drained.is_some() && !self.stdout.is_open() && !self.stderr.is_open() {
                return None;
            }
        }
    }

    /// Waits for the child itself. Read its lines first, or a full pipe holds it up.
    pub async fn ended(&mut self) -> Ended {
        self.group.ended().await
    }

    /// Ends the whole process group and waits, bounded, until the child is gone.
    pub async fn stop(&mut self) {
        self.group.stop().await;
    }
}

/// Runs `command` to its end, at most for `limit`, and hands over every line as it comes.
///
/// # Errors
/// `config` or `local`: it could not be started. How it ended is the value, not an error.
pub async fn run(
    command: &Command,
    limit: Duration,
    mut on_line: impl FnMut(Stream, &str),
) -> Outcome<Ended> {
    let deadline = Instant::now() + limit;
    let mut child = Child::start(command).await?;
    let to_the_end = async {
        while let Some((stream, text)) = child.line().await {
            on_line(stream, &text);
        }
        child.ended().await
    };
    match timeout_at(deadline, to_the_end).await {
        Ok(ended) => Ok(ended),
        Err(_elapsed) => {
            child.stop().await;
            Ok(Ended::TimedOut(limit))
        }
    }
}
