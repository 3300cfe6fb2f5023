//! The dump's file, written on a thread of its own while the next bytes are inflated.
//!
//! For `unzip` by hand, which waits for the disk, a further thread brings to it what was written so far: little is left for the end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

/// Small enough that all under way are still in the processor's cache when they are written.
const BLOCK: usize = 128 << 10;
/// Blocks under way at most: 2 MiB.
const BLOCKS: usize = 16;
/// Bytes after which the disk is waited for, beside the writing; each time costs it a flush.
const SYNCED_AT_ONCE: usize = 64 << 20;

/// Takes the bytes in order. They are in the file once [`Writer::finish`] has said so.
#[derive(Debug)]
pub struct Writer {
    block: Vec<u8>,
    /// What is to be written; None once a write has failed.
    full: Option<SyncSender<Vec<u8>>>,
    /// Blocks that were written, to be filled again.
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<File>>>,
}

impl Writer {
    /// Writes, and leaves it to the system when the disk gets it.
    pub fn start(file: File) -> io::Result<Self> {
        Self::with(file, None)
    }

    /// Writes, and begins to bring it to the disk; an error of that is one of writing.
    pub fn start_syncing(file: File) -> io::Result<Self> {
        let syncing = Syncing::start(file.try_clone()?)?;
        Self::with(file, Some(syncing))
    }

    fn with(file: File, syncing: Option<Syncing>) -> io::Result<Self> {
        let (full, blocks) = sync_channel(BLOCKS);
        let (back, empty) = sync_channel(BLOCKS);
        let work = move || write(file, &blocks, &back, syncing);
        let thread = thread::Builder::new().name("write".into()).spawn(work)?;
        Ok(Self {
            block: Vec::with_capacity(BLOCK),
            full: Some(full),
            empty,
            thread: Some(thread),
        })
    }

    /// Waits until everything is written.
    pub fn finish(mut self) -> io::Result<File> {
        self.hand_over()?;
        self.end()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        // Those under way are as many as wait and one that is being written.
        let next = self.empty.try_recv().unwrap_or_default();
        let block = std::mem::replace(&mut self.block, next);
        self.block.clear();
        self.block.reserve(BLOCK);
        let sent = self.full.as_ref().map(|full| full.send(block));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(self.end().err().unwrap_or_else(ended_early)),
        }
    }

    /// The thread's end, and why it came. Asked twice there is nothing to tell.
    fn end(&mut self) -> io::Result<File> {
        self.full = None;
        let thread = self.thread.take().ok_or_else(ended_early)?;
        thread.join().map_err(|_| ended_early())?
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.full.is_none() {
            return Err(ended_early());
        }
        if self.block.len() >= BLOCK {
            self.hand_over()?;
        }
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

impl Drop for Writer {
    /// Nothing is written any more once it is gone.
    fn drop(&mut self) {
        // Who has not called `finish` gives the file up.
        let _ = self.end();
    }
}

fn write(
    mut file: File,
    blocks: &Receiver<Vec<u8>>,
    back: &SyncSender<Vec<u8>>,
    mut syncing: Option<Syncing>,
) -> io::Result<File> {
    let mut since = 0;
    for block in blocks {
        file.write_all(&block)?;
        since += block.len();
        // Where nobody fills blocks any more there is no use for this one.
        let _ = back.try_send(block);
        if since >= SYNCED_AT_ONCE
            && let Some(syncing) = &mut syncing
            && syncing.go_on()?
        {
            since = 0;
        }
    }
    if let Some(mut syncing) = syncing {
        syncing.end()?;
    }
    Ok(file)
}

fn ended_early() -> io::Error {
    io::Error::other("the thread that writes has ended early")
}

/// Waits for the disk where others would have to.
struct Syncing {
    now: Option<SyncSender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Syncing {
    fn start(file: File) -> io::Result<Self> {
        let (now, asked) = sync_channel(0);
        let work = move || asked.iter().try_for_each(|()| file.sync_data());
        let thread = thread::Builder::new().name("sync".into()).spawn(work)?;
        Ok(Self {
            now: Some(now),
            thread: Some(thread),
        })
    }

    /// False: it is still at what it was asked for before. The system tells an error once, so it must not get lost here.
    fn go_on(&mut self) -> io::Result<bool> {
        match self.now.as_ref().map(|now| now.try_send(())) {
            Some(Ok(())) => Ok(true),
            Some(Err(TrySendError::Full(()))) => Ok(false),
            _ => self.end().map(|()| false),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.now = None;
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().map_err(|_| ended_early())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn content(bytes: usize) -> Vec<u8> {
        let numbers = (0_u32..).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
        numbers.take(bytes).collect()
    }

    #[test]
    fn what_is_written_in_any_pieces_is_in_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("dump");
        let content = content(2 * SYNCED_AT_ONCE + 12_345);
        for pieces in [1000, BLOCK, 3 * BLOCK + 1] {
            let file = File::create(&path).expect("a file");
            let mut writer = Writer::start_syncing(file).expect("a thread");
            for piece in content.chunks(pieces) {
                writer.write_all(piece).expect("room");
            }
            writer.finish().expect("everything written");
            assert!(fs::read(&path).expect("the file") == content, "{pieces}");
        }
    }

    #[test]
    fn a_full_disk_is_told_with_its_reason() {
        for start in [Writer::start, Writer::start_syncing] {
            let full = File::options().write(true).open("/dev/full");
            let mut writer = start(full.expect("the device")).expect("a thread");
            let block = content(BLOCK);
            let written = (0..100).try_for_each(|_| writer.write_all(&block));
            let error = written.expect_err("no room");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(writer.write_all(&block).is_err(), "nor later");
            assert!(writer.finish().is_err(), "nor at the end");
        }
    }

    #[test]
    fn a_short_file_that_does_not_fit_fails_at_the_end() {
        let full = File::options().write(true).open("/dev/full");
        let mut writer = Writer::start(full.expect("the device")).expect("a thread");
        writer.write_all(b"a few bytes").expect("only taken");
        let error = writer.finish().expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_disk_that_fails_beside_the_writing_fails_it() {
        // A pipe takes bytes, and has no disk that could be waited for.
        let (mut reader, pipe) = std::io::pipe().expect("a pipe");
        let drain = thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
        let mut writer = Writer::start_syncing(pipe).expect("a thread");
        let block = content(BLOCK);
        let written = (0..2 * SYNCED_AT_ONCE / BLOCK).try_for_each(|_| writer.write_all(&block));
        let error = written.and_then(|()| writer.finish().map(drop));
        let error = error.expect_err("no disk");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        drain.join().expect("the reader").expect("all of it");
    }
}
