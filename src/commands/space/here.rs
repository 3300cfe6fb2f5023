//! What a command writes on this machine, and whether there is room: all of it is below state_dir.

use std::path::{Path, PathBuf};

use super::{Part, listed};
use crate::commands::{Job, fetch};
use crate::config::format_bytes;
use crate::durable::{self, FileSystem};
use crate::state_dir;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Left free on the file system of state_dir, for logs, reports and everybody else.
const RESERVE: u64 = 64 << 20;
/// Names that a run may need at once: archive, dump, their facts and temporary names, report, journal, log.
const FILES: u64 = 16;

/// What is written, all at once at the peak: an older archive goes only when the new one is unpacked.
#[derive(Debug, Default)]
pub struct Here {
    /// One for each file system: the directories may be mounted.
    disks: Vec<Disk>,
    /// Bytes of the archives that are kept from before.
    kept: u64,
    keeps: bool,
    writes_both: bool,
}

#[derive(Debug)]
struct Disk {
    directory: PathBuf,
    parts: Vec<Part>,
    state: FileSystem,
}

/// What `run` writes. `dump` None: nobody says how long it is; hardly less than its archive.
pub fn of_run(archive: u64, dump: Option<u64>, job: &Job<'_>) -> Outcome<Here> {
    let keeps = job.restore.keep_archives > 0;
    if job.restore.stream {
        return Ok(Here::default());
    }
    let dump = dump.unwrap_or(archive);
    Here::new(keeps.then_some(archive), Some(dump), job)
}

/// What `fetch` writes.
pub fn of_fetch(archive: u64, job: &Job<'_>) -> Outcome<Here> {
    Here::new(Some(archive), None, job)
}

/// What `unzip` writes.
pub fn of_unzip(archive: u64, dump: Option<u64>, job: &Job<'_>) -> Outcome<Here> {
    Here::new(None, Some(dump.unwrap_or(archive)), job)
}

impl Here {
    fn new(archive: Option<u64>, dump: Option<u64>, job: &Job<'_>) -> Outcome<Self> {
        let (state_dir, name) = (job.state_dir(), &job.restore.name);
        let archives = state_dir::archives(state_dir, name);
        let wanted = [
            ("archive", archive, archives.clone()),
            ("dump", dump, state_dir::dumps(state_dir, name)),
        ];
        let mut disks = vec![Disk::of(state_dir)?];
        for (what, bytes, directory) in wanted {
            let Some(bytes) = bytes else { continue };
            let disk = Disk::of(&directory)?;
            let same = disks
                .iter_mut()
                .find(|other| other.state.device == disk.state.device);
            let part = Part::new(what, bytes);
            match same {
                Some(same) => same.parts.push(part),
                None => disks.push(Disk {
                    parts: vec![part],
                    ..disk
                }),
            }
        }
        // What an unfinished download takes counts as free: it is gone on with, or goes.
        let unfinished = fetch::Part::of(job).bytes();
        if unfinished > 0 {
            let device = Disk::of(&archives)?.state.device;
            let its = disks.iter_mut().find(|disk| disk.state.device == device);
            if let Some(disk) = its {
                disk.state.free_bytes = disk.state.free_bytes.saturating_add(unfinished);
            }
        }
        Ok(Self {
            disks,
            kept: length_of_all(&archives),
            keeps: archive.is_some(),
            writes_both: archive.is_some() && dump.is_some(),
        })
    }

    /// In one sentence.
    pub fn needed_and_free(&self) -> String {
        let disks: Vec<String> = self.disks.iter().map(Disk::in_words).collect();
        if disks.is_empty() {
            return "nothing is written here (`stream`)".to_owned();
        }
        disks.join("; ")
    }

    /// For a plan.
    pub fn in_words(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for disk in &self.disks {
            lines.push(format!("space     {}", disk.in_words()));
            lines.push(format!("          {}", disk.in_parts()));
        }
        lines
    }

    /// # Errors
    /// `local`: there is not enough room, and what would need less.
    pub fn judge(&self) -> Outcome<()> {
        for disk in &self.disks {
            if disk.needed() > disk.state.free_bytes {
                return Err(self.too_small(disk));
            }
            if let Some(free) = disk.state.free_files.filter(|free| *free < FILES) {
                return Err(Failed::new(
                    Verdict::Local,
                    format!(
                        "find room in {}: {FILES} new files may be needed, and its file system has room for {free} (inodes)",
                        disk.directory.display()
                    ),
                )
                .hint("remove files there, or move `state_dir` to a file system with more inodes"));
            }
        }
        Ok(())
    }

    fn too_small(&self, disk: &Disk) -> Failed {
        let mut remedies = vec!["free space there".to_owned()];
        if self.keeps && self.kept > 0 {
            remedies.push(format!(
                "lower `keep_archives` and remove what is kept from before ({})",
                format_bytes(self.kept)
            ));
        }
        if self.writes_both {
            remedies.push(
                "set `keep_archives = 0` (no archive) or `stream = true` (no file at all)"
                    .to_owned(),
            );
        }
        let last = "or move `state_dir` to a larger disk";
        Failed::new(
            Verdict::Local,
            format!(
                "find room in {}: {} are needed ({}), {} are free",
                disk.directory.display(),
                format_bytes(disk.needed()),
                disk.in_parts(),
                format_bytes(disk.state.free_bytes)
            ),
        )
        .hint(format!("{}, {last}", remedies.join(", ")))
    }
}

impl Disk {
    fn of(directory: &Path) -> Outcome<Self> {
        let state = durable::file_system(directory).judge(
            Verdict::Local,
            format!("ask how much is free in {}", directory.display()),
        )?;
        Ok(Self {
            directory: directory.to_owned(),
            parts: Vec::new(),
            state,
        })
    }

    fn needed(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.bytes);
        parts.fold(RESERVE, u64::saturating_add)
    }

    fn in_words(&self) -> String {
        format!(
            "{} needed in {}, {} free",
            format_bytes(self.needed()),
            self.directory.display(),
            format_bytes(self.state.free_bytes)
        )
    }

    fn in_parts(&self) -> String {
        let reserve = Part::new("reserve", RESERVE);
        listed(self.parts.iter().chain([&reserve]))
    }
}

/// Of a directory of ours, which may not be there yet.
fn length_of_all(directory: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(directory) else {
        return 0;
    };
    let lengths = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
    lengths.sum()
}
