//! What one command costs: its time, its processor time with that of its children, its memory.
//!
//! The processor time is read from the ended process before it is reaped; the memory is sampled, since the kernel's own record of the
//! peak begins with that of whoever started the process.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Whatever takes longer than this hangs.
const DEADLINE: Duration = Duration::from_mins(30);
const SAMPLE: Duration = Duration::from_millis(10);
/// The whole tree is looked for at every fifth sample: that means reading all of /proc.
const TREE_EVERY: u32 = 5;
/// USER_HZ, which is the same on every Linux that PostgreSQL's packages are made for.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

#[derive(Debug, Clone, Default)]
pub struct Cost {
    pub seconds: f64,
    /// User and system, with all children that it waited for.
    pub cpu: f64,
    /// The peak of the process itself, in bytes.
    pub memory: u64,
    /// The peak of the process and its children together, in bytes.
    pub tree_memory: u64,
    pub stdout: String,
}

impl Cost {
    /// As if both had been one command after the other.
    pub fn then(mut self, next: &Cost) -> Cost {
        self.seconds += next.seconds;
        self.cpu += next.cpu;
        self.memory = self.memory.max(next.memory);
        self.tree_memory = self.tree_memory.max(next.tree_memory);
        self.stdout += &next.stdout;
        self
    }
}

/// Runs it to its end; one that fails is an error with what it said.
pub fn measure(mut command: Command) -> Result<Cost> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?);
    // What others left to be written must not be this one's burden.
    rustix::fs::sync();
    let began = Instant::now();
    let child = command.spawn().with_context(|| format!("start {name}"))?;
    let ended = watched(child, began).with_context(|| format!("watch {name}"))?;
    if !ended.success {
        bail!(
            "{name} failed: {}{}",
            said(&mut stderr)?,
            said(&mut stdout)?
        );
    }
    Ok(Cost {
        stdout: said(&mut stdout)?,
        ..ended.cost
    })
}

struct Ended {
    success: bool,
    cost: Cost,
}

fn watched(mut child: Child, began: Instant) -> Result<Ended> {
    let pid = Pid::from_child(&child);
    let sampler = Sampler::start(pid);
    let end = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while let Err(error) = waitid(WaitId::Pid(pid), end) {
        ensure!(error == rustix::io::Errno::INTR, "waitid: {error}");
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds(pid);
    let (memory, tree_memory) = sampler.stop();
    let success = child.wait()?.success();
    let cost = Cost {
        seconds,
        cpu: cpu?,
        memory,
        tree_memory: tree_memory.max(memory),
        stdout: String::new(),
    };
    Ok(Ended { success, cost })
}

fn said(file: &mut fs::File) -> Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// utime, stime, cutime and cstime of proc(5), of a process that has ended and is not reaped.
fn cpu_seconds(pid: Pid) -> Result<f64> {
    let fields = stat(pid.as_raw_nonzero().get()).context("read its /proc/PID/stat")?;
    let ticks = fields.get(11..15).context("times in /proc/PID/stat")?;
    let ticks = ticks.iter().map(|field| field.parse::<f64>());
    let ticks: f64 = ticks.sum::<Result<f64, _>>()?;
    Ok(ticks / TICKS_PER_SECOND)
}

/// The fields behind the name, which may hold anything; the first is the state.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

struct Sampler {
    over: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

impl Sampler {
    fn start(pid: Pid) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let until = Instant::now() + DEADLINE;
            let (mut own, mut tree) = (0, 0);
            for count in 0_u32.. {
                own = own.max(peak(pid));
                if count % TREE_EVERY == 0 {
                    tree = tree.max(tree_memory(pid.as_raw_nonzero().get()));
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                if Instant::now() > until {
                    // Not reaped before this thread has ended, so it is still the same process.
                    let _ = kill_process(pid, Signal::KILL);
                }
                thread::sleep(SAMPLE);
            }
            (own, tree)
        });
        Self { over, thread }
    }

    fn stop(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sampler")
    }
}

/// VmHWM: the most that the process ever held; 0 once it has ended.
fn peak(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What the process and its descendants hold now.
fn tree_memory(root: i32) -> u64 {
    let Ok(directory) = fs::read_dir("/proc") else {
        return 0;
    };
    let names = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let all: Vec<(i32, i32, u64)> = names
        .filter_map(|pid| {
            let fields = stat(pid)?;
            let pages: u64 = fields.get(21)?.parse().ok()?;
            Some((pid, fields.get(1)?.parse().ok()?, pages))
        })
        .collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        let children = all.iter().filter(|(_, of, _)| *of == parent);
        family.extend(children.map(|(pid, ..)| *pid));
        next += 1;
    }
    let members = all.iter().filter(|(pid, ..)| family.contains(pid));
    members.map(|(.., pages)| pages * PAGE_BYTES).sum()
}
