//! Loading a dump: one pg_restore, watched, and judged by its exit status *and* by every line it says.
//!
//! Where the future is dropped the child is ended, but its backends may live on: whoever drops the scratch database ends them.

mod command;
mod input;
mod items;
mod list;
mod telling;
mod watchdog;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::connection::Login;
use super::dump::{Format, Turn, Turns, directory, tar};
use super::messages::Messages;
use super::tools::Tool;
use crate::escape::shown;
use crate::process::{Child, Command, Ended, Stream};
use crate::run::Run;
use crate::verdict::{Failed, Outcome, Verdict};
pub use input::{Feeder, Input, Pipe, Pulse, pipe};
pub use list::Select;
use watchdog::{Moved, Watchdog};

/// What goes where, and how.
#[derive(Debug)]
pub struct Load<'a> {
    pub tool: &'a Tool,
    pub login: &'a Login,
    /// The empty scratch database, or with `in_place` the live one. No other session of the run may be in it.
    pub target: &'a str,
    pub input: Input<'a>,
    /// From the dump's header.
    pub format: Format,
    /// Parallel sessions; one where the format, the method or a pipe allows no more.
    pub jobs: u32,
    /// One transaction over the live database, instead of filling an empty one.
    pub in_place: bool,
    /// Which part of the dump, and for whom; None: all of it, as it is.
    pub select: Option<Select<'a>>,
    /// No progress for this long ends the load.
    pub stall: Duration,
    /// A target that grows beyond this ends the load.
    pub most_bytes: Option<u64>,
}

/// A dump that was loaded without a fatal word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What was degraded; the run's notes have it already.
    pub warnings: Vec<String>,
    /// Lines that meant nothing.
    pub harmless: u64,
}

/// Loads the dump, and says `Ok` only where pg_restore ended well and without a fatal word.
///
/// From a pipe, a failure of whoever fills it shows here as a dump that ends too early: tell the other one.
///
/// # Errors
/// `failed` mostly, with the failing statement; `damaged`: the dump is broken; `config`, `network`, `refused` and `local` as pg_restore says.
pub async fn load(plan: Load<'_>, run: &Run) -> Outcome<Loaded> {
    match (&plan.input, plan.format) {
        (Input::File(dump), Format::Tar) => tar::is_whole(dump)?,
        (Input::File(dump), Format::Directory) => directory::is_whole(dump)?,
        _ => {}
    }
    let mut watchdog = Watchdog::new(&plan, run);
    let turns = match plan.select {
        Some(select) if command::parallel(&plan) => Turns::of(select.toc),
        _ => None,
    };
    if let Some(turns) = turns {
        return in_turns(&plan, &turns, &mut watchdog, run).await;
    }
    let mut command = command::pg_restore(&plan, None)?;
    let mut moved = Moved::default();
    if let Input::Pipe(pipe) = plan.input {
        let (end, flow) = pipe.into_parts();
        command = command.stdin(end);
        moved.flow = Some(flow);
    }
    pg_restore(command, moved, &mut watchdog, run).await
}

async fn in_turns(
    plan: &Load<'_>,
    turns: &Turns,
    watchdog: &mut Watchdog<'_>,
    run: &Run,
) -> Outcome<Loaded> {
    let mut loaded = Loaded::default();
    for turn in Turn::ALL {
        let command = command::pg_restore(plan, Some((turns, turn)))?;
        let Loaded { warnings, harmless } =
            pg_restore(command, Moved::default(), watchdog, run).await?;
        loaded.warnings.extend(warnings);
        loaded.harmless += harmless;
    }
    Ok(loaded)
}

async fn pg_restore(
    command: Command,
    moved: Moved,
    watchdog: &mut Watchdog<'_>,
    run: &Run,
) -> Outcome<Loaded> {
    let mut messages = Messages::default();
    let mut child = Child::start(&command).await?;
    drop(command);
    let ended = tokio::select! {
        ended = listen(&mut child, &mut messages, &moved.lines) => Ok(ended),
        stalled = watchdog.watch(&moved) => Err(stalled),
    };
    if !matches!(ended, Ok(Ended::Exited(0))) {
        // One that failed may have left workers behind, and one that hangs is still there.
        child.stop().await;
    }
    match ended {
        Ok(ended) => wholly_fed(judge(ended, messages, run), &moved),
        Err(stalled) => {
            watchdog.end_backends().await;
            Err(stalled)
        }
    }
}

/// What pg_restore took for the end of the dump may be where its feeder failed.
fn wholly_fed(loaded: Outcome<Loaded>, moved: &Moved) -> Outcome<Loaded> {
    let abandoned = moved.flow.as_ref().is_some_and(|flow| flow.was_abandoned());
    if loaded.is_ok() && abandoned {
        return Err(Failed::new(
            Verdict::Damaged,
            "the dump broke off, which pg_restore did not notice",
        ));
    }
    loaded
}

async fn listen(child: &mut Child, messages: &mut Messages, lines: &AtomicU64) -> Ended {
    while let Some((stream, line)) = child.line().await {
        lines.fetch_add(1, Ordering::Relaxed);
        if stream == Stream::Stdout {
            continue;
        }
        if line.starts_with("pg_restore: ") {
            tracing::debug!("{}", shown(&line));
        }
        // Other lines are statements and rows, which may hold what no log should.
        messages.line(&line);
    }
    child.ended().await
}

fn judge(ended: Ended, messages: Messages, run: &Run) -> Outcome<Loaded> {
    let said = messages.finish();
    tracing::debug!(harmless = said.harmless, %ended, "pg_restore ended");
    if let Some(failed) = said.fatal {
        return Err(failed);
    }
    if !ended.is_success() {
        let problem = format!("pg_restore ended without saying why: {ended}");
        return Err(Failed::new(Verdict::Failed, problem).hint(
            "where it was killed, look for the kernel's out-of-memory killer in this machine's log",
        ));
    }
    for warning in &said.degraded {
        run.notes.warn(warning);
    }
    Ok(Loaded {
        warnings: said.degraded,
        harmless: said.harmless,
    })
}
