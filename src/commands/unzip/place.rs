//! Where a dump is unpacked to: a file, or a directory for a dump of many files. Listed in the journal, then made, under a name that
//! nobody takes for a dump.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::judged_here;
use super::writer::Writer;
use crate::archive::{Inside, Problem};
use crate::commands::Job;
use crate::database::dump::{Format, directory};
use crate::durable;
use crate::journal::Created;
use crate::state_dir;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Files that are open at most because they were written and not yet fsynced.
const MOST_OPEN: usize = 128;

#[derive(Debug)]
pub struct Place {
    pub part: PathBuf,
    pub path: PathBuf,
    /// None: a directory.
    out: Option<File>,
    /// How a file is written beside the inflating.
    start: fn(File) -> io::Result<Writer>,
}

/// What was written may still be in memory only: as open files, since an error of the disk is told to them.
#[derive(Debug, Default)]
pub struct Written {
    pub bytes: u64,
    open: Vec<File>,
}

impl Place {
    /// Not for a thread that a signal leaves behind: it would create the file when all is cleaned up.
    pub fn take(format: Format, job: &Job<'_>) -> Outcome<Self> {
        let directory = state_dir::dumps(job.state_dir(), &job.restore.name);
        durable::create_private_dir(&directory)
            .judge(Verdict::Local, format!("create {}", directory.display()))?;
        let path = directory.join(format!("{}.dump", job.run.id));
        let part = path.with_extension("part");
        for file in [&part, &path] {
            job.run
                .journal
                .will_create(Created::File(file.clone()))
                .judge(Verdict::Local, "write the journal")?;
        }
        let out = match format {
            Format::Directory => durable::create_private_dir(&part).map(|()| None),
            Format::Custom | Format::Tar => durable::create_private(&part).map(Some),
        };
        let out = out.judge(Verdict::Local, format!("create {}", part.display()))?;
        Ok(Self {
            part,
            path,
            out,
            start: Writer::start,
        })
    }

    /// For who waits for the disk in the end: brings to it, while more comes, what was written.
    #[must_use]
    pub fn syncing(self) -> Self {
        Self {
            start: Writer::start_syncing,
            ..self
        }
    }

    /// Unpacks the whole dump into it.
    pub fn fill<R: Read + Seek>(
        &mut self,
        inside: &mut Inside<R>,
        mut on_bytes: impl FnMut(u64),
        stopped: impl Fn() -> bool,
    ) -> Outcome<Written> {
        let mut written = Written::default();
        if let Some(out) = self.out.take() {
            let (bytes, out) = self.write(inside, out, on_bytes, stopped)?;
            written.bytes = bytes;
            written.open.push(out);
            return Ok(written);
        }
        for number in 0..inside.part_count() {
            let member = inside.turn_to_part(number).map_err(judged_here)?;
            if stopped() {
                return Err(judged_here(Problem::Stopped));
            }
            let last = member.name.rsplit('/').next().unwrap_or_default();
            let out = self.create(last)?;
            let (bytes, out) = self.write(inside, out, &mut on_bytes, &stopped)?;
            written.add(bytes, out, &self.part)?;
        }
        written.close(&self.part)
    }

    /// Unpacks one file.
    fn write<R: Read + Seek>(
        &self,
        inside: &mut Inside<R>,
        out: File,
        on_bytes: impl FnMut(u64),
        stopped: impl Fn() -> bool,
    ) -> Outcome<(u64, File)> {
        let what = || format!("write {}", self.part.display());
        let mut out = (self.start)(out).judge(Verdict::Local, what())?;
        let bytes = inside.unpack(&mut out, on_bytes, stopped);
        let bytes = bytes.map_err(judged_here)?;
        let out = out.finish().judge(Verdict::Local, what())?;
        Ok((bytes, out))
    }

    /// Copies these files of a directory here into it.
    pub fn copy(
        &self,
        from: &Path,
        names: &BTreeSet<String>,
        stopped: impl Fn() -> bool,
    ) -> Outcome<Written> {
        let mut written = Written::default();
        for name in names {
            if stopped() {
                return Err(Failed::interrupted());
            }
            let what = || format!("copy {}", from.join(name).display());
            let mut source = File::open(from.join(name)).judge(Verdict::Local, what())?;
            let mut out = self.create(name)?;
            let bytes = io::copy(&mut source, &mut out).judge(Verdict::Local, what())?;
            written.add(bytes, out, &self.part)?;
        }
        written.close(&self.part)
    }

    fn create(&self, name: &str) -> Outcome<File> {
        let path = self.part.join(directory::file_name(name)?);
        durable::create_private(&path).judge(Verdict::Local, format!("create {}", path.display()))
    }

    /// Gives the dump its name.
    pub fn publish(&self) -> Outcome<()> {
        durable::publish(&self.part, &self.path)
            .judge(Verdict::Local, format!("write {}", self.path.display()))
    }
}

impl Written {
    fn add(&mut self, bytes: u64, file: File, part: &Path) -> Outcome<()> {
        self.bytes += bytes;
        self.open.push(file);
        if self.open.len() >= MOST_OPEN {
            self.sync().judge(Verdict::Local, to_the_disk(part))?;
            self.open.clear();
        }
        Ok(())
    }

    /// The names in the directory go to the disk last.
    fn close(mut self, part: &Path) -> Outcome<Self> {
        let directory = File::open(part).judge(Verdict::Local, to_the_disk(part))?;
        self.open.push(directory);
        Ok(self)
    }

    pub fn sync(&self) -> io::Result<()> {
        self.open.iter().try_for_each(File::sync_all)
    }
}

/// What fsync is for, in words.
pub fn to_the_disk(path: &Path) -> String {
    format!("write {} to the disk", path.display())
}
