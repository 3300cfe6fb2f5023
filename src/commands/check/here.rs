//! The links on this machine: configuration, secrets, directories, programs.

use std::path::Path;

use super::chain::Chain;
use crate::commands::schedule::found::{self, Standing, Started};
use crate::commands::{App, Job, hooks, restore};
use crate::config::{Config, Log, SecretRef};
use crate::database::tools::{self, Tool};
use crate::escape::escaped;
use crate::secret::{Secret, Secrets};
use crate::state_dir;
use crate::verdict::{Failed, Outcome, Verdict};

/// What the later links need of the secrets.
#[derive(Debug, Default)]
pub struct Opened {
    pub secrets: Secrets,
    missing: Vec<SecretRef>,
}

impl Opened {
    /// Whether all of these were opened.
    pub fn has<'a>(&self, wanted: impl IntoIterator<Item = &'a SecretRef>) -> bool {
        let mut wanted = wanted.into_iter();
        wanted.all(|reference| !self.missing.contains(reference))
    }

    /// None where there is none to open, or where it could not be opened.
    pub fn get(&self, reference: Option<&SecretRef>) -> Option<Secret> {
        let reference = reference.filter(|reference| self.has([*reference]))?;
        Some(self.secrets.get(reference).clone())
    }
}

pub fn configuration(chain: &mut Chain, config: &Config) {
    chain.ok("configuration", config.file.display().to_string());
}

/// Each by itself, so that one that is missing hides nothing but what needs it.
pub async fn secrets(app: &App, chain: &mut Chain, needed: &[&SecretRef]) -> Opened {
    let mut opened = Opened::default();
    for reference in needed {
        let found = Secrets::open(&app.config.secrets, &[reference]).await;
        let found = chain.take("secret", found, |_| reference.setting.clone());
        let Some(found) = found else {
            opened.missing.push((*reference).clone());
            continue;
        };
        found.teach(&app.output.scrubber);
        chain.warn(found.warnings());
        opened.secrets.join(found);
    }
    opened
}

/// Where reports, archives and dumps lie, and the log.
pub fn directories(chain: &mut Chain, config: &Config) {
    chain.take("state_dir", state(&config.state_dir), Clone::clone);
    chain.take("log", log(&config.log), Clone::clone);
    if let Some(file) = &config.metrics.textfile {
        chain.take("metrics", metrics(file), Clone::clone);
    }
}

fn state(path: &Path) -> Outcome<String> {
    state_dir::usable(path)?;
    let shown = path.display();
    let there = path.ancestors().find(|ancestor| ancestor.exists());
    let there = there.unwrap_or(Path::new("/"));
    writable(there, "`state_dir`")?;
    Ok(if there == path {
        shown.to_string()
    } else {
        format!("{shown}: the first run makes it")
    })
}

fn log(log: &Log) -> Outcome<String> {
    let Some(file) = &log.file else {
        return Ok("each run's own, in state_dir".to_owned());
    };
    directory_of(file, "log.file")?;
    Ok(file.display().to_string())
}

fn metrics(file: &Path) -> Outcome<String> {
    directory_of(file, "metrics.textfile")?;
    Ok(file.display().to_string())
}

/// A file's, which must be there, and be ours to write in.
fn directory_of(file: &Path, setting: &str) -> Outcome<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        let told = format!("{} is no directory", directory.display());
        return Err(Failed::new(Verdict::Config, told).hint(format!(
            "mkdir -p {}, or correct `{setting}`",
            directory.display()
        )));
    }
    writable(directory, &format!("`{setting}`"))
}

fn writable(directory: &Path, setting: &str) -> Outcome<()> {
    use rustix::fs::Access;
    let asked = rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK);
    asked.map_err(|error| {
        let told = format!("write in {}: {error}", directory.display());
        Failed::new(Verdict::Local, told).hint(format!(
            "let the user who runs backupctl write there, or correct {setting}"
        ))
    })
}

/// Every `pg_restore` that could be chosen.
pub async fn tools(chain: &mut Chain, bin_dir: Option<&Path>) -> Option<Vec<Tool>> {
    let found = tools::find(bin_dir).await;
    chain.take("tools", found, |tools| {
        let versions: Vec<String> = tools.iter().map(|tool| tool.version.to_string()).collect();
        format!("pg_restore {}", versions.join(", "))
    })
}

/// What starts the job by itself: a warning where nothing does, since something that can't be seen may.
pub async fn timer(chain: &mut Chain, config: &Config, job: &str) {
    starts(chain, (config, job), "timer", Started::Run).await;
    if config.drill.every.is_some() {
        starts(chain, (config, job), "drill timer", Started::Drill).await;
    }
}

async fn starts(
    chain: &mut Chain,
    (config, job): (&Config, &str),
    link: &'static str,
    what: Started,
) {
    let starters = found::starters(&config.file, job, what);
    for starter in &starters {
        match starter.standing().await {
            // A crontab's times are those of its runs.
            Standing::Ready(next) if what == Started::Drill && starter.is_crontab() => {
                chain.ok(link, format!("by {}", next.by));
            }
            Standing::Ready(next) => chain.ok(link, found::words(&next)),
            Standing::Broken { why, remedy } => chain.caution(link, why, remedy),
        }
        let program = std::env::current_exe().unwrap_or_default();
        if starter.mark.program != program.to_string_lossy() {
            let (file, other) = (starter.file.display(), escaped(&starter.mark.program));
            chain.warn(&[format!("{file} starts another program than this, {other}")]);
        }
    }
    if !starters.is_empty() {
        return;
    }
    match found::by_hand(what).await {
        Some(place) => chain.ok(link, format!("by hand, in {place}")),
        None => chain.caution(
            link,
            match what {
                Started::Run => "no timer or crontab that could be seen starts it".to_owned(),
                Started::Drill => {
                    "no timer or crontab that could be seen makes the drills that `every` asks for"
                        .to_owned()
                }
            },
            "backupctl schedule --install".to_owned(),
        ),
    }
}

/// Those of hooks and checks, and the files of `after_load`; nothing where the job has none.
pub fn programs(chain: &mut Chain, job: &Job<'_>) {
    let restore = job.restore;
    if !(restore.before_swap.is_empty()
        && restore.after_swap.is_empty()
        && restore.after_checks.is_empty())
    {
        chain.take("hooks", hooks::judge(job), |()| {
            "the programs of the hooks are there".to_owned()
        });
    }
    if !restore.after_load.is_empty() {
        chain.take("after_load", restore::scripts(job), |()| {
            "the files can be read".to_owned()
        });
    }
}
