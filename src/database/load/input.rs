//! Where pg_restore reads the dump: a file, or the end of a pipe that this process fills while the dump is still on its way.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::pipe::fcntl_setpipe_size;

/// Fewer wake-ups than with the kernel's 64 KiB; as much as an ordinary user may ask for.
const ROOM: usize = 1 << 20;

/// Where pg_restore reads the dump.
#[derive(Debug)]
pub enum Input<'a> {
    /// Or a directory, by the dump's format.
    File(&'a Path),
    /// Its standard input: one session, in the dump's own order, which only some dumps allow.
    Pipe(Pipe),
}

/// The end of a pipe that pg_restore reads.
#[derive(Debug)]
pub struct Pipe {
    end: PipeReader,
    flow: Arc<Flow>,
}

/// The end of a pipe that is filled with the dump, by a thread that may block; [`Feeder::finish`] ends the dump.
///
/// `BrokenPipe` says that pg_restore has ended, well or not: it doesn't read what lies behind the last data it needs.
/// Dropped before either, it has failed, and the load fails with it: of a tar that ends in a row's middle pg_restore says nothing.
#[derive(Debug)]
pub struct Feeder {
    end: PipeWriter,
    flow: Arc<Flow>,
    over: bool,
}

/// What both sides know of what goes through.
#[derive(Debug, Default)]
pub(super) struct Flow {
    bytes: AtomicU64,
    /// The feeder has something that it can't get rid of, rather than waiting for more itself.
    writing: AtomicBool,
    /// How often the dump's source has said that it is still at it.
    beats: AtomicU64,
    /// The feeder went away in the middle.
    abandoned: AtomicBool,
}

/// Both ends of a new pipe. What goes through it counts as progress of the load.
///
/// # Errors
/// No descriptor left.
pub fn pipe() -> io::Result<(Feeder, Pipe)> {
    let (reader, writer) = io::pipe()?;
    // A user who has used up the room for pipes gets a smaller one.
    let _ = fcntl_setpipe_size(writer.as_fd(), ROOM);
    let flow = Arc::<Flow>::default();
    let feeder = Feeder {
        end: writer,
        flow: Arc::clone(&flow),
        over: false,
    };
    Ok((feeder, Pipe { end: reader, flow }))
}

impl Pipe {
    pub(super) fn into_parts(self) -> (OwnedFd, Arc<Flow>) {
        (self.end.into(), self.flow)
    }
}

/// Says that the dump's source is still at it, within bounds of its own, although no bytes come: that is no stall of the load.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Flow>);

impl Pulse {
    pub fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }
}

impl Feeder {
    pub fn pulse(&self) -> Pulse {
        Pulse(Arc::clone(&self.flow))
    }

    /// That was the whole dump, and it was proven.
    pub fn finish(mut self) {
        self.over = true;
    }
}

impl Write for Feeder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flow.writing.store(true, Ordering::Relaxed);
        let written = self.end.write(bytes);
        self.flow.writing.store(false, Ordering::Relaxed);
        match &written {
            Ok(count) => {
                self.flow.bytes.fetch_add(*count as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.over = true,
            Err(_) => {}
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        if !self.over {
            // Seen before the end of the dump is: this end is closed afterwards.
            self.flow.abandoned.store(true, Ordering::Release);
        }
    }
}

impl Flow {
    /// Differs where anything has moved on the way to pg_restore.
    pub fn moved(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed) + self.beats.load(Ordering::Relaxed)
    }

    pub fn is_dry(&self) -> bool {
        !self.writing.load(Ordering::Relaxed)
    }

    pub fn was_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}
