//! Puts a schedule where it works, and takes it away again. Nothing that somebody else has written is touched.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use super::mark::Mark;
use super::plan::{Names, Plan};
use super::systemd;
use super::{CRON_DIR, SYSTEMD_DIR};
use crate::cli::Schedule;
use crate::commands::App;
use crate::durable;
use crate::escape::escaped;
use crate::process::is_executable;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// Where the crontab's own program may be.
const CRONS: [&str; 4] = [
    "/usr/sbin/cron",
    "/usr/sbin/crond",
    "/usr/bin/crond",
    "/sbin/crond",
];

/// What lies where a file of ours would.
enum Found {
    Nothing,
    Ours(Mark),
    /// And why it is taken for somebody else's.
    Others(&'static str),
}

fn look(path: &Path) -> Outcome<Found> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => {
            return Err(error).judge(Verdict::Local, format!("look at {}", path.display()));
        }
        Ok(meta) if meta.is_symlink() => return Ok(Found::Others("a symlink")),
        Ok(meta) if !meta.is_file() => return Ok(Found::Others("no regular file")),
        Ok(_) => {}
    }
    let text = fs::read(path).judge(Verdict::Local, format!("read {}", path.display()))?;
    let mark = Mark::of(&String::from_utf8_lossy(&text));
    Ok(mark.map_or(Found::Others("without our mark"), Found::Ours))
}

/// What an installation replaces: refused where it is somebody else's.
pub fn judge(plan: &Plan) -> Outcome<Vec<String>> {
    let (mut foreign, mut others) = (Vec::new(), Vec::new());
    for file in &plan.files {
        let shown = escaped(&file.path.to_string_lossy());
        match look(&file.path)? {
            Found::Others(why) => foreign.push(format!("{shown} ({why})")),
            Found::Ours(mark) if !mark.is_of(&plan.mark.config) || mark.jobs != plan.mark.jobs => {
                others.push(format!("{shown} (of {})", escaped(&mark.config)));
            }
            Found::Ours(_) | Found::Nothing => {}
        }
    }
    if foreign.is_empty() {
        return Ok(others);
    }
    let told = format!(
        "backupctl did not write {}, and leaves it",
        foreign.join(", ")
    );
    Err(Failed::new(Verdict::Config, told).hint("rename or remove it; or take `--dir` or `--cron`"))
}

/// `state_dir`, where it is missing and systemd won't make it: the unit could not start without.
pub fn missing_state_dir(plan: &Plan) -> Option<&Path> {
    let state_dir = plan.config.state_dir.as_path();
    let is_made = plan.timers.is_empty() || super::unit::below("/var/lib", state_dir).is_some();
    (!is_made && !state_dir.exists()).then_some(state_dir)
}

/// Makes it for the user who will run, as the first run would.
pub fn make_state_dir(plan: &Plan, state_dir: &Path) -> Outcome<()> {
    let user = &plan.user;
    let made = DirBuilder::new().mode(0o700).create(state_dir);
    let given = made.and_then(|()| chown(state_dir, Some(user.id), Some(user.group)));
    let shown = state_dir.display();
    given
        .judge(Verdict::Local, format!("make `state_dir` {shown}"))
        .hint(format!("install -d -m 700 -o {} {shown}", user.name))
}

/// Units of ours that this schedule has no more: those of drills that nothing asks for any longer.
pub fn outdated(plan: &Plan) -> Outcome<Removal> {
    let mut removal = Removal {
        is_live: plan.is_live,
        ..Removal::default()
    };
    for path in &plan.outdated {
        if let Found::Ours(mark) = look(path)?
            && mark.is_of(&plan.mark.config)
            && mark.jobs == plan.mark.jobs
        {
            removal.take(path.clone());
        }
    }
    Ok(removal)
}

/// Writes the files and starts the timers. What could not be done is the error: the files stay.
pub async fn install(plan: &Plan) -> Outcome<()> {
    outdated(plan)?.carry_out().await?;
    for file in &plan.files {
        write(&file.path, &file.text)?;
    }
    if !plan.is_live {
        return Ok(());
    }
    start(plan).await.map_err(|failed| {
        let told = format!(
            "the schedule is written, but not started: {}",
            failed.message()
        );
        Failed::new(Verdict::Attention, told).hint(starting(plan))
    })
}

/// What an operator would type.
fn starting(plan: &Plan) -> String {
    if plan.timers.is_empty() {
        return "install and start cron, or use systemd: leave out `--cron`".to_owned();
    }
    format!(
        "where systemd runs: systemctl daemon-reload && systemctl enable --now {}; without it: `backupctl schedule --cron`",
        plan.timers.join(" ")
    )
}

async fn start(plan: &Plan) -> Outcome<()> {
    if plan.timers.is_empty() {
        let is_there = CRONS.iter().any(|cron| is_executable(Path::new(cron)));
        let missing = || Failed::new(Verdict::Config, "there is no cron on this machine");
        return is_there.then_some(()).ok_or_else(missing);
    }
    if !systemd::is_running() {
        return Err(Failed::new(
            Verdict::Config,
            "systemd does not run this machine",
        ));
    }
    systemd::systemctl(&["daemon-reload"]).await?;
    let mut words = vec!["enable", "--now"];
    words.extend(plan.timers.iter().map(String::as_str));
    systemd::systemctl(&words).await
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // systemd reads no such suffix, and cron no such name.
    let temp = path.with_file_name(format!(".{name}.backupctl-tmp"));
    let what = format!("write {}", path.display());
    let written = durable::write_public(&temp, path, text.as_bytes());
    written.map_err(|error| {
        let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
        let failed = Failed::new(Verdict::Local, format!("{what}: {error}"));
        if is_denied {
            failed.hint("do it as root: sudo backupctl schedule … --user NAME")
        } else {
            failed
        }
    })
}

/// What `--remove` takes away.
#[derive(Debug, Default)]
pub struct Removal {
    pub files: Vec<PathBuf>,
    timers: Vec<String>,
    is_live: bool,
}

/// Everything of ours for these jobs in the usual places, or in `--dir`; somebody else's is refused.
pub fn removal(app: &App, flags: &Schedule) -> Outcome<Removal> {
    let config = app.config.file.to_string_lossy();
    let Names { run, status, drill } = Names::of(&flags.jobs)?;
    let mut names: Vec<PathBuf> = Vec::new();
    let (systemd_dir, cron_dir) = match &flags.dir {
        Some(dir) => (dir.as_path(), dir.as_path()),
        None => (Path::new(SYSTEMD_DIR), Path::new(CRON_DIR)),
    };
    if !flags.cron {
        for name in [&run, &status, &drill] {
            names.extend(
                ["timer", "service"].map(|kind| systemd_dir.join(format!("{name}.{kind}"))),
            );
        }
    }
    names.push(cron_dir.join(&run));
    let mut removal = Removal {
        is_live: flags.dir.is_none(),
        ..Removal::default()
    };
    let mut foreign = Vec::new();
    for path in names {
        match look(&path)? {
            Found::Nothing => {}
            Found::Ours(mark) if mark.is_of(&config) && mark.jobs == flags.jobs => {
                removal.take(path);
            }
            Found::Ours(mark) => foreign.push(format!(
                "{} is of {} (jobs: {})",
                path.display(),
                escaped(&mark.config),
                if mark.jobs.is_empty() {
                    "all".to_owned()
                } else {
                    mark.jobs.join(", ")
                }
            )),
            Found::Others(why) => foreign.push(format!("{} is {why}", path.display())),
        }
    }
    if foreign.is_empty() {
        return Ok(removal);
    }
    let told = format!("not ours to remove: {}", foreign.join("; "));
    Err(Failed::new(Verdict::Config, told)
        .hint("name the configuration with `-c`, or remove it by hand"))
}

impl Removal {
    fn take(&mut self, path: PathBuf) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".timer") {
            self.timers.push(name.into_owned());
        }
        self.files.push(path);
    }

    /// The timers first, so that none starts what is gone; a run that is at work goes on.
    pub async fn carry_out(&self) -> Outcome<()> {
        let is_live = self.is_live && systemd::is_running();
        if is_live && !self.timers.is_empty() {
            let mut words = vec!["disable", "--now"];
            words.extend(self.timers.iter().map(String::as_str));
            systemd::systemctl(&words).await?;
        }
        for path in &self.files {
            durable::remove(path).judge(Verdict::Local, format!("remove {}", path.display()))?;
        }
        if is_live && !self.timers.is_empty() {
            systemd::systemctl(&["daemon-reload"]).await?;
        }
        Ok(())
    }
}
