//! Which files a schedule consists of: all that is asked for is judged here, before anything is written.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::crontab::Crontab;
use super::mark::Mark;
use super::needs::Needs;
use super::unit::{Service, Timer};
use super::{CRON_DIR, SYSTEMD_DIR, systemd};
use crate::account::{self, Account};
use crate::cli::{Schedule, TimeOfDay};
use crate::commands::App;
use crate::config::{self, Config, Environment, Restore, format_duration};
use crate::escape::{escaped, shown};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

const USUAL_TIME: TimeOfDay = TimeOfDay { hour: 2, minute: 0 };
const USUAL_DELAY: Duration = Duration::from_mins(5);
/// What a run may take, on top of the time between two of them.
const GRACE: Duration = Duration::from_hours(2);
const LONGEST_NAME: usize = 120;
const UNITS: [&str; 4] = [".service", ".target", ".timer", ".path"];

/// A file of ours.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    pub text: String,
}

/// What is written, and what is started then.
#[derive(Debug)]
pub struct Plan {
    pub files: Vec<File>,
    /// Of systemd; none with cron.
    pub timers: Vec<String>,
    pub mark: Mark,
    pub user: Account,
    pub config: Config,
    /// Whether the files go to their usual place.
    pub is_live: bool,
}

/// Everything that texts are made of.
struct Material<'a> {
    flags: &'a Schedule,
    directory: PathBuf,
    user: &'a Account,
    mark: &'a Mark,
    needs: &'a Needs,
    max_age: Option<Duration>,
}

impl Plan {
    pub async fn of(app: &App, flags: &Schedule) -> Outcome<Self> {
        let user = user(app, flags).await?;
        let config = as_started(app, &user)?;
        let restores: Vec<&Restore> = crate::commands::jobs(&config, &flags.jobs)?;
        owned(&config, &user)?;
        for calendar in &flags.on_calendar {
            systemd::judge_calendar(calendar, app).await?;
        }
        judge_on_failure(flags.on_failure.as_deref())?;
        let program = std::env::current_exe().judge(Verdict::Local, "find our own program")?;
        if !flags.cron {
            startable(&program)?;
        }
        let at = times(flags);
        let mark = Mark {
            format: 1,
            program: plain_text(&program)?,
            config: plain_text(&config.file)?,
            jobs: flags.jobs.clone(),
            at: at.iter().map(ToString::to_string).collect(),
        };
        let needs = Needs::of(&config, &restores, &program);
        plain_text(&needs.state_dir)?;
        needs.log_dir.as_deref().map(plain_text).transpose()?;
        let material = Material {
            flags,
            directory: directory(flags)?,
            user: &user,
            mark: &mark,
            needs: &needs,
            max_age: max_age(flags, &at, &restores)?,
        };
        let (run, status) = (name("run", &flags.jobs)?, name("status", &flags.jobs)?);
        let (files, timers) = if flags.cron {
            (vec![material.crontab(&run, &at)], Vec::new())
        } else {
            let timers = [&run, &status].map(|name| format!("{name}.timer"));
            (material.units(&run, &status, &at), timers.into())
        };
        let is_live = flags.dir.is_none();
        Ok(Self {
            files,
            timers,
            mark,
            user,
            config,
            is_live,
        })
    }

    /// The files as `systemctl cat` shows them.
    pub fn text(&self) -> String {
        let files = self.files.iter();
        let texts: Vec<String> = files
            .map(|file| format!("# {}\n{}", file.path.display(), file.text))
            .collect();
        texts.join("\n").trim_end().to_owned()
    }
}

impl Material<'_> {
    fn run(&self) -> Vec<String> {
        let lead = [&self.mark.program, "-c", &self.mark.config, "run", "-q"];
        self.with_jobs(&lead)
    }

    fn status(&self) -> Vec<String> {
        let mut words =
            self.with_jobs(&[&self.mark.program, "-c", &self.mark.config, "status", "-q"]);
        if let Some(max_age) = self.max_age {
            words.extend(["--max-age".to_owned(), typed(max_age)]);
        }
        words
    }

    fn with_jobs(&self, lead: &[&str]) -> Vec<String> {
        let lead = lead.iter().map(|word| (*word).to_owned());
        lead.chain(self.mark.jobs.iter().cloned()).collect()
    }

    fn crontab(&self, name: &str, at: &[TimeOfDay]) -> File {
        let crontab = Crontab {
            mark: self.mark,
            user: &self.user.name,
            at,
            run: &self.run(),
            status: &self.status(),
        };
        File {
            path: self.directory.join(name),
            text: crontab.text(),
        }
    }

    /// Services before the timers that start them.
    fn units(&self, run: &str, status: &str, at: &[TimeOfDay]) -> Vec<File> {
        let of_jobs = self.of_jobs();
        let calendar: Vec<String> = if self.flags.on_calendar.is_empty() {
            at.iter().map(|time| format!("*-*-* {time}:00")).collect()
        } else {
            self.flags.on_calendar.clone()
        };
        let delay = self.flags.random_delay.unwrap_or(USUAL_DELAY);
        let service = |name: &str, command: &[String], what: &str| {
            let description = format!("backupctl {what}{of_jobs}");
            let name = format!("{name}.service");
            let service = Service {
                mark: self.mark,
                description: &description,
                name: &name,
                user: &self.user.name,
                is_root: self.user.id == 0,
                command,
                on_failure: self.flags.on_failure.as_deref(),
                needs: self.needs,
            };
            let text = if what == "status" {
                service.of_status()
            } else {
                service.of_run()
            };
            self.file(&name, text)
        };
        let timer = |name: &str, calendar: &[String], is_run: bool| {
            let what = if is_run { "run" } else { "status" };
            let name = format!("{name}.timer");
            let timer = Timer {
                mark: self.mark,
                description: &format!("when backupctl {what} is started{of_jobs}"),
                name: &name,
                calendar,
                random_delay: if is_run { delay } else { USUAL_DELAY },
                is_persistent: is_run,
            };
            self.file(&name, timer.text())
        };
        vec![
            service(run, &self.run(), "run"),
            service(status, &self.status(), "status"),
            timer(run, &calendar, true),
            timer(status, &["hourly".to_owned()], false),
        ]
    }

    fn of_jobs(&self) -> String {
        if self.mark.jobs.is_empty() {
            return String::new();
        }
        format!(" of {}", self.mark.jobs.join(", "))
    }

    fn file(&self, name: &str, text: String) -> File {
        File {
            path: self.directory.join(name),
            text,
        }
    }
}

fn directory(flags: &Schedule) -> Outcome<PathBuf> {
    let usual = if flags.cron { CRON_DIR } else { SYSTEMD_DIR };
    let directory = flags.dir.as_deref().unwrap_or(Path::new(usual));
    std::path::absolute(directory).judge(Verdict::Usage, "use `--dir`")
}

/// `backupctl-run`, with the jobs' names where not all are meant. cron.d takes no other punctuation.
pub fn name(command: &str, jobs: &[String]) -> Outcome<String> {
    let mut name = format!("backupctl-{command}");
    for job in jobs {
        // Writing to a string can't fail.
        let _ = write!(name, "_{job}");
    }
    if name.len() > LONGEST_NAME {
        let failed = Failed::new(Verdict::Usage, "the jobs' names are too long for one unit");
        return Err(failed.hint("name fewer of them, or none for all"));
    }
    Ok(name)
}

fn times(flags: &Schedule) -> Vec<TimeOfDay> {
    if flags.at.is_empty() && flags.on_calendar.is_empty() {
        return vec![USUAL_TIME];
    }
    let mut at = flags.at.clone();
    at.sort_unstable();
    at.dedup();
    at
}

/// What `status` is told; None: each job's `rpo` says it.
fn max_age(flags: &Schedule, at: &[TimeOfDay], restores: &[&Restore]) -> Outcome<Option<Duration>> {
    if let Some(max_age) = flags.max_age {
        return Ok(Some(max_age));
    }
    if !at.is_empty() {
        return Ok(Some(longest_gap(at) + GRACE));
    }
    let undated = restores
        .iter()
        .find(|restore| restore.targets.rpo.is_none());
    match undated {
        None => Ok(None),
        Some(restore) => Err(Failed::new(
            Verdict::Usage,
            format!(
                "how old may the last success of {} be? with `--on-calendar` that has to be said",
                restore.name
            ),
        )
        .hint("add `--max-age`, such as `--max-age 26h`, or set the job's `rpo`")),
    }
}

fn longest_gap(at: &[TimeOfDay]) -> Duration {
    let minutes = |time: &TimeOfDay| u64::from(time.hour) * 60 + u64::from(time.minute);
    let day = 24 * 60;
    let first = at.first().map_or(0, minutes);
    let ends = at.iter().skip(1).map(minutes).chain([first + day]);
    let gaps = at
        .iter()
        .map(minutes)
        .zip(ends)
        .map(|(begin, end)| end - begin);
    Duration::from_mins(gaps.max().unwrap_or(day))
}

/// As it is given on a command line.
fn typed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() != 0 {
        format!("{}ms", duration.as_millis())
    } else if seconds.is_multiple_of(3600) {
        format!("{}h", seconds / 3600)
    } else if seconds.is_multiple_of(60) {
        format!("{}m", seconds / 60)
    } else {
        format!("{seconds}s")
    }
}

/// Whom it runs for: the named one, else whoever owns `state_dir`, else us.
async fn user(app: &App, flags: &Schedule) -> Outcome<Account> {
    let owner = || {
        fs::metadata(&app.config.state_dir)
            .map(|meta| meta.uid())
            .ok()
    };
    let us = || rustix::process::geteuid().as_raw();
    let who = flags
        .user
        .clone()
        .unwrap_or_else(|| owner().unwrap_or_else(us).to_string());
    let found = account::find(&who).await?;
    let plain = |c: char| c.is_alphanumeric() || "_.-@$".contains(c);
    match found {
        Some(account) if account.name.chars().all(plain) => Ok(account),
        Some(account) => Err(Failed::new(
            Verdict::Config,
            format!(
                "the user name {} can't stand in a unit or a crontab",
                shown(&account.name)
            ),
        )),
        None => Err(
            Failed::new(Verdict::Usage, format!("there is no user {}", shown(&who)))
                .hint("`getent passwd` lists them"),
        ),
    }
}

/// The configuration as it will be read there: by that user, without anything of a login's environment.
fn as_started(app: &App, user: &Account) -> Outcome<Config> {
    let environment = Environment {
        state_home: Some(user.home.join(".local/state")),
        is_root: user.id == 0,
        ..Environment::default()
    };
    config::load(Some(&app.config.file), &environment).context(format!(
        "read the configuration as {} without a login",
        user.name
    ))
}

fn owned(config: &Config, user: &Account) -> Outcome<()> {
    let state_dir = &config.state_dir;
    let Ok(meta) = fs::symlink_metadata(state_dir) else {
        return Ok(());
    };
    if meta.uid() == user.id {
        return Ok(());
    }
    let (name, id) = (&user.name, meta.uid());
    Err(Failed::new(
        Verdict::Config,
        format!(
            "`state_dir` {} belongs to user {id}, not to {name}",
            state_dir.display()
        ),
    )
    .hint(format!(
        "choose that user with `--user`, or give {name} a `state_dir` of its own"
    )))
}

/// A line break would be a line of the file, and what is no UTF-8 no text.
fn plain_text(path: &Path) -> Outcome<String> {
    let text = path
        .to_str()
        .filter(|text| !text.chars().any(char::is_control));
    text.map(str::to_owned).ok_or_else(|| {
        let path = escaped(&path.to_string_lossy());
        Failed::new(
            Verdict::Config,
            format!("the path {path} can't stand in a unit or a crontab"),
        )
        .hint("use a path without control characters, in UTF-8")
    })
}

/// systemd takes no program with these in its path, however they are quoted.
fn startable(program: &Path) -> Outcome<()> {
    let text = program.to_string_lossy();
    if !text.contains(['"', '\'', '\\']) {
        return Ok(());
    }
    let told = format!(
        "systemd starts no program with quotes or backslashes in its path: {}",
        escaped(&text)
    );
    Err(Failed::new(Verdict::Config, told)
        .hint("move it, to /usr/local/bin for example, or use `--cron`"))
}

fn judge_on_failure(unit: Option<&str>) -> Outcome<()> {
    let Some(unit) = unit else {
        return Ok(());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ":_.\\@%-".contains(c);
    let is_unit = UNITS
        .iter()
        .any(|kind| unit.len() > kind.len() && unit.ends_with(kind));
    if is_unit && unit.chars().all(plain) {
        return Ok(());
    }
    Err(Failed::new(
        Verdict::Usage,
        format!("{} is no name of a unit", shown(unit)),
    )
    .hint("such as `--on-failure tell-admin@%n.service`"))
}

/// How the times read to people.
pub fn when(flags: &Schedule) -> String {
    if !flags.on_calendar.is_empty() {
        return format!("at {}", flags.on_calendar.join(" and "));
    }
    let times: Vec<String> = times(flags).iter().map(ToString::to_string).collect();
    let delay = flags.random_delay.unwrap_or(USUAL_DELAY);
    let later = if flags.cron || delay.is_zero() {
        String::new()
    } else {
        format!(", up to {} later", format_duration(delay))
    };
    format!("every day at {}{later}", times.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(times: &[&str]) -> Vec<TimeOfDay> {
        let parse = |text: &&str| TimeOfDay::parse(text).expect("a time");
        times.iter().map(parse).collect()
    }

    #[test]
    fn the_longest_time_between_two_runs_decides_how_old_a_success_may_be() {
        for (times, gap) in [
            (&["02:00"][..], 24 * 60),
            (&["02:00", "14:00"], 12 * 60),
            (&["01:00", "02:30", "14:00"], 11 * 60 + 30),
        ] {
            assert_eq!(
                longest_gap(&at(times)),
                Duration::from_mins(gap),
                "{times:?}"
            );
        }
    }

    #[test]
    fn a_duration_is_typed_as_it_is_read() {
        for text in ["26h", "90m", "61s", "1500ms"] {
            let duration = config::parse_duration(text).expect(text);
            assert_eq!(typed(duration), text);
        }
    }
}
