//! The log: one daily rotated file for the machine, one file per run for its mail, and stderr for whoever watches.
//!
//! Every sink is scrubbed of the secrets in use and of control characters. A sink that fails never ends a run.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::Global;
use crate::config;
use crate::durable;
use crate::escape::{escaped_json, escaped_lines};
use crate::output::{Output, Progress};
use crate::secret::Scrubber;

/// The log of the run that is under way; nothing is kept between runs.
#[derive(Debug, Clone, Default)]
pub struct RunLog(Arc<Mutex<Option<File>>>);

impl RunLog {
    /// From now on lines also go to `path`.
    ///
    /// # Errors
    /// The file can't be created.
    pub fn begin(&self, path: &Path) -> io::Result<()> {
        let file = durable::create_private(path)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Starts logging for the whole process. Returns the run's log and what the operator must be told.
pub fn start(
    log: Option<&config::Log>,
    options: &Global,
    output: &Output,
) -> (RunLog, Vec<String>) {
    let mut warnings = Vec::new();
    let run_log = RunLog::default();
    let scrubber = &output.scrubber;
    let on_stderr = match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::OFF,
        // Warnings are in the report, or printed with the result.
        (false, 0) => LevelFilter::ERROR,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    let level = log
        .and_then(|log| log.level.parse().ok())
        .unwrap_or(LevelFilter::INFO);
    let json = log.is_some_and(|log| log.json);
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = vec![
        text_layer(
            Clean::new(Stderr(output.progress.clone()), scrubber),
            on_stderr,
        ),
        text_layer(
            Clean::new(RunFile(run_log.clone()), scrubber),
            level.max(LevelFilter::INFO),
        ),
    ];
    match log
        .and_then(|log| Some((log.file.as_deref()?, log.keep)))
        .map(|(file, keep)| daily(file, keep))
    {
        Some(Ok(appender)) => {
            let writer = Clean::new(Daily(Arc::new(Mutex::new(appender))), scrubber);
            layers.push(if json {
                json_layer(writer, level)
            } else {
                text_layer(writer, level)
            });
        }
        Some(Err(why)) => warnings.push(why),
        None => {}
    }
    // A second start in one process (tests of the library) keeps the first subscriber.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    (run_log, warnings)
}

/// Our own lines at `level`; those of the libraries below us only where they warn.
fn only_ours(level: LevelFilter) -> tracing_subscriber::filter::Targets {
    tracing_subscriber::filter::Targets::new()
        .with_default(level.min(LevelFilter::ERROR))
        .with_target("backupctl", level)
}

fn text_layer<W: Write + Clone + Send + Sync + 'static>(
    writer: Clean<W>,
    level: LevelFilter,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer);
    Box::new(layer.with_filter(only_ours(level)))
}

fn json_layer<W: Write + Clone + Send + Sync + 'static>(
    writer: Clean<W>,
    level: LevelFilter,
) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer()
        .json()
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer);
    Box::new(layer.with_filter(only_ours(level)))
}

/// `backupctl.log` becomes `backupctl.2026-11-20.log`, with a link of the configured name to today's.
fn daily(file: &Path, keep: usize) -> Result<RollingFileAppender, String> {
    let unusable = |why: &dyn std::fmt::Display| {
        format!(
            "can't write the log {}: {why}; it goes to stderr and the run's own log only",
            file.display()
        )
    };
    let (Some(directory), Some(name)) = (
        file.parent(),
        file.file_name().and_then(|name| name.to_str()),
    ) else {
        return Err(unusable(&"it is no file name"));
    };
    if !directory.is_dir() {
        return Err(unusable(&format!(
            "{} is no directory",
            directory.display()
        )));
    }
    keep_old_log(file).map_err(|error| unusable(&error))?;
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, "log"));
    RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(stem)
        .filename_suffix(extension)
        .max_log_files(keep)
        .latest_symlink(name)
        .build(directory)
        .map_err(|error| unusable(&error))
}

/// The link to today's file replaces whatever has its name: an ordinary log of that name is moved aside first.
fn keep_old_log(file: &Path) -> io::Result<()> {
    match fs::symlink_metadata(file) {
        Ok(meta) if meta.is_file() => fs::rename(file, file.with_extension("before-rotation")),
        Ok(meta) if meta.is_dir() => Err(io::Error::other("a directory has that name")),
        _ => Ok(()),
    }
}

/// A sink that no secret and no control character reaches, whatever an event holds. The formatter hands over whole events, so
/// that no secret is cut in two.
#[derive(Clone)]
struct Clean<W> {
    inner: W,
    scrubber: Scrubber,
}

impl<W> Clean<W> {
    fn new(inner: W, scrubber: &Scrubber) -> Self {
        Self {
            inner,
            scrubber: scrubber.clone(),
        }
    }
}

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let event = clean(&self.scrubber.scrub(&text));
        // A log that can't be written (full disk, closed stderr) must neither end the run nor be reported by a print.
        let _ = self.inner.write_all(event.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<'a, W: Write + Clone + 'a> MakeWriter<'a> for Clean<W> {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Events begin with their time, or with a brace, at the start of a line; what is in one can't look like another.
fn clean(event: &str) -> String {
    let (event, end) = match event.strip_suffix('\n') {
        Some(event) => (event, "\n"),
        None => (event, ""),
    };
    let event = if event.starts_with('{') {
        escaped_json(event)
    } else {
        escaped_lines(event).replace('\n', "\n    ")
    };
    event + end
}

#[derive(Clone)]
struct Stderr(Progress);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = Ok(bytes.len());
        self.0
            .above(|| written = io::stderr().lock().write_all(bytes).map(|()| bytes.len()));
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone)]
struct RunFile(RunLog);

impl Write for RunFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone)]
struct Daily(Arc<Mutex<RollingFileAppender>>);

impl Write for Daily {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn written(event: &str) -> String {
        let scrubber = Scrubber::default();
        scrubber.learn(&Secret::new("canary-0123456789".to_owned()));
        let mut out = Vec::new();
        let mut sink = Clean::new(&mut out, &scrubber);
        assert_eq!(sink.write(event.as_bytes()).expect("written"), event.len());
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_event_can_neither_move_the_cursor_nor_look_like_two() {
        assert_eq!(
            written(
                "2026 ERROR a\u{1b}[2J\r\u{9b}b\n2026 INFO forged name=\u{202e}x canary-0123456789\n"
            ),
            "2026 ERROR a\\u{1b}[2J\\r\\u{9b}b\n    2026 INFO forged name=\\u{202e}x <secret>\n"
        );
    }

    #[test]
    fn an_event_as_json_stays_json_and_one_line() {
        let event = serde_json::json!({ "a": "\u{1b}\n\u{9b}\u{202e}" });
        let line = written(&format!("{event}\n"));
        assert_eq!(line, "{\"a\":\"\\u001b\\n\\u009b\\u202e\"}\n");
    }
}
