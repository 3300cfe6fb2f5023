//! `schedule`: what runs a job every night, printed, or put where systemd or cron finds it.
//!
//! `found` says what is there, for `check` and `status`.

mod cadence;
mod crontab;
pub mod found;
mod install;
mod judge;
mod mark;
mod needs;
mod plan;
mod systemd;
mod unit;

use std::path::PathBuf;

use serde_json::{Value, json};

use self::install::{missing_state_dir, removal};
use self::plan::Plan;
use super::App;
use crate::cli::Schedule;
use crate::escape::in_path;
use crate::verdict::{Failed, Outcome, Verdict};

const SYSTEMD_DIR: &str = "/etc/systemd/system";
const CRON_DIR: &str = "/etc/cron.d";

/// `backupctl schedule [JOB…]`.
///
/// # Errors
/// `usage` or `config`: what is asked for is no schedule; `local`: it can't be written; `attention`: written, but not started.
pub async fn command(app: &App, flags: &Schedule) -> Outcome<Verdict> {
    if flags.remove {
        return remove(app, flags).await;
    }
    let plan = Plan::of(app, flags).await?;
    if !flags.install {
        return Ok(shown(app, &plan, &plan.text(), None));
    }
    let others = install::judge(&plan)?;
    let outdated = install::outdated(&plan)?.files;
    if app.options.dry_run {
        let text = format!("{}\n\n{}", plan.text(), would(&plan, &others, &outdated));
        return Ok(shown(app, &plan, &text, None));
    }
    if !others.is_empty() {
        let question = format!("Replace the schedule in {}?", others.join(", "));
        app.output
            .confirm(&question, flags.yes, &app.signals.stop)
            .await?;
    }
    if let (Some(state_dir), true) = (missing_state_dir(&plan), plan.is_live) {
        install::make_state_dir(&plan, state_dir)?;
        app.output.say(&format!("made: {}", state_dir.display()));
    }
    let failed = match install::install(&plan).await {
        Err(failed) if failed.verdict != Verdict::Attention => return Err(failed),
        ended => ended.err(),
    };
    let text = installed(&plan, flags, &outdated);
    Ok(shown(app, &plan, &text, failed.as_ref()))
}

fn would(plan: &Plan, others: &[String], outdated: &[PathBuf]) -> String {
    let mut lines: Vec<String> = { plan.files.iter() }
        .map(|file| format!("would be written: {}", file.path.display()))
        .collect();
    let state_dir = missing_state_dir(plan).filter(|_| plan.is_live);
    lines.extend(state_dir.map(|path| format!("would be made: {}", path.display())));
    lines.extend(
        others
            .iter()
            .map(|other| format!("would be replaced: {other}")),
    );
    lines.extend(
        outdated
            .iter()
            .map(|path| format!("would be removed: {}", path.display())),
    );
    if plan.is_live {
        lines.extend(
            plan.timers
                .iter()
                .map(|timer| format!("would be started: {timer}")),
        );
    }
    lines.join("\n")
}

fn installed(plan: &Plan, flags: &Schedule, outdated: &[PathBuf]) -> String {
    let mut lines: Vec<String> = { plan.files.iter() }
        .map(|file| format!("written: {}", file.path.display()))
        .collect();
    let removed = outdated.iter();
    lines.extend(removed.map(|path| format!("removed: {}", path.display())));
    let user = &plan.user.name;
    lines.push(format!("runs as {user}, {}", plan::when(flags)));
    lines.extend(plan.drills.iter().map(|when| format!("drills: {when}")));
    let (program, config) = (in_path(&plan.mark.program), in_path(&plan.mark.config));
    let sudo = if plan.user.id == rustix::process::geteuid().as_raw() {
        String::new()
    } else {
        format!("sudo -u {user} ")
    };
    lines.push(format!(
        "prove it: {sudo}{program} -c {config} check --as-cron"
    ));
    lines.join("\n")
}

/// The plan as a document or for people.
fn shown(app: &App, plan: &Plan, text: &str, failed: Option<&Failed>) -> Verdict {
    let files: Vec<Value> = { plan.files.iter() }
        .map(|file| json!({ "path": file.path.display().to_string(), "content": file.text }))
        .collect();
    let facts = json!({ "files": files, "timers": plan.timers, "user": plan.user.name });
    app.output
        .state(&document(app, facts, failed), || text.to_owned(), failed)
}

fn document(app: &App, facts: Value, failed: Option<&Failed>) -> Value {
    let verdict = failed.map_or(Verdict::Done, |failed| failed.verdict);
    let mut document = json!({
        "format": 1,
        "version": env!("CARGO_PKG_VERSION"),
        "command": "schedule",
        "verdict": verdict.word(),
        "exit_code": verdict.exit_code(),
        "message": failed.map(Failed::message),
        "hint": failed.and_then(|failed| failed.hint.clone()),
        "dry_run": app.options.dry_run,
    });
    if let (Value::Object(document), Value::Object(facts)) = (&mut document, facts) {
        document.extend(facts);
    }
    document
}

async fn remove(app: &App, flags: &Schedule) -> Outcome<Verdict> {
    let removal = removal(app, flags)?;
    let files: Vec<String> = { removal.files.iter() }
        .map(|file| file.display().to_string())
        .collect();
    let told = |lead: &str| {
        let lines = files.iter().map(|file| format!("{lead}: {file}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let text = if files.is_empty() {
        "nothing is scheduled by us".to_owned()
    } else if app.options.dry_run {
        told("would be removed")
    } else {
        let question = format!(
            "{}\nRemove this? Nothing runs by itself then.",
            files.join("\n")
        );
        app.output
            .confirm(&question, flags.yes, &app.signals.stop)
            .await?;
        removal.carry_out().await?;
        told("removed")
    };
    let document = document(app, json!({ "removed": files }), None);
    Ok(app.output.state(&document, || text, None))
}
