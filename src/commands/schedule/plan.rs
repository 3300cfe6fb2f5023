//! Which files a schedule consists of: all that is asked for is judged here, before anything is written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cadence::Cadence;
use super::crontab::Crontab;
use super::judge::{self, plain_text};
use super::mark::Mark;
use super::needs::Needs;
use super::unit::{Service, Timer};
use super::{CRON_DIR, SYSTEMD_DIR};
use crate::account::Account;
use crate::cli::{Schedule, TimeOfDay};
use crate::commands::App;
use crate::config::{Config, Restore, format_duration};
use crate::verdict::{Failed, Judge, Outcome, Verdict};

const USUAL_TIME: TimeOfDay = TimeOfDay { hour: 2, minute: 0 };
const USUAL_DELAY: Duration = Duration::from_mins(5);
/// What a run may take, on top of the time between two of them.
const GRACE: Duration = Duration::from_hours(2);
const LONGEST_NAME: usize = 120;

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
    /// Where an earlier installation may have left what belongs to it no more.
    pub outdated: Vec<PathBuf>,
    /// When drills are made, for people.
    pub drills: Option<String>,
}

/// Everything that texts are made of.
struct Material<'a> {
    flags: &'a Schedule,
    directory: PathBuf,
    user: &'a Account,
    mark: &'a Mark,
    needs: &'a Needs,
    max_age: Option<Duration>,
    drills: Option<Drills>,
}

/// Where `every` of [drill] asks for them.
struct Drills {
    cadence: Cadence,
    needs: Needs,
}

/// Of a schedule, without the kinds of its files.
pub struct Names {
    pub run: String,
    pub status: String,
    pub drill: String,
}

impl Names {
    pub fn of(jobs: &[String]) -> Outcome<Self> {
        Ok(Self {
            run: name("run", jobs)?,
            status: name("status", jobs)?,
            drill: name("drill", jobs)?,
        })
    }
}

impl Plan {
    pub async fn of(app: &App, flags: &Schedule) -> Outcome<Self> {
        let user = judge::user(app, flags).await?;
        let config = judge::as_started(app, &user)?;
        let restores: Vec<&Restore> = crate::commands::jobs(&config, &flags.jobs)?;
        judge::owned(&config, &user)?;
        judge::words(app, flags).await?;
        let program = judge::program(flags)?;
        let at = times(flags);
        let mark = Mark {
            format: 1,
            program: plain_text(&program)?,
            config: plain_text(&config.file)?,
            jobs: flags.jobs.clone(),
            at: at.iter().map(ToString::to_string).collect(),
            drills: config.drill.every.is_some(),
        };
        let needs = Needs::of(&config, &restores, &program);
        judge::written(&needs)?;
        let material = Material {
            flags,
            directory: directory(flags)?,
            user: &user,
            mark: &mark,
            needs: &needs,
            max_age: max_age(flags, &at, &restores)?,
            drills: drills(flags, &config, &at, (&restores, &program))?,
        };
        let names = Names::of(&flags.jobs)?;
        let files = material.files(&names, &at);
        let timers = { files.iter() }
            .filter(|file| file.path.extension().is_some_and(|kind| kind == "timer"))
            .filter_map(|file| Some(file.path.file_name()?.to_str()?.to_owned()))
            .collect();
        let when_drilled = { material.drills.as_ref() }.map(|drills| drills.cadence.words());
        let outdated = material.outdated(&names);
        Ok(Self {
            files,
            timers,
            mark,
            user,
            config,
            is_live: flags.dir.is_none(),
            outdated,
            drills: when_drilled,
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
    fn files(&self, names: &Names, at: &[TimeOfDay]) -> Vec<File> {
        if self.flags.cron {
            return vec![self.crontab(&names.run, at)];
        }
        self.units(names, at)
    }

    /// Units that this schedule does not have, and an earlier one may have had.
    fn outdated(&self, names: &Names) -> Vec<PathBuf> {
        if self.flags.cron || self.drills.is_some() {
            return Vec::new();
        }
        let units = ["timer", "service"].map(|kind| format!("{}.{kind}", names.drill));
        units.map(|unit| self.directory.join(unit)).into()
    }

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

    /// A job that the configuration gets later is drilled as well, as it is run.
    fn drill(&self) -> Vec<String> {
        let mut words =
            self.with_jobs(&[&self.mark.program, "-c", &self.mark.config, "drill", "-q"]);
        if self.mark.jobs.is_empty() {
            words.push("--all".to_owned());
        }
        words
    }

    fn with_jobs(&self, lead: &[&str]) -> Vec<String> {
        let lead = lead.iter().map(|word| (*word).to_owned());
        lead.chain(self.mark.jobs.iter().cloned()).collect()
    }

    fn crontab(&self, name: &str, at: &[TimeOfDay]) -> File {
        let drill = self.drill();
        let drills = self.drills.as_ref();
        let crontab = Crontab {
            mark: self.mark,
            user: &self.user.name,
            at,
            run: &self.run(),
            status: &self.status(),
            drills: drills.map(|drills| (&drills.cadence, drill.as_slice())),
        };
        File {
            path: self.directory.join(name),
            text: crontab.text(),
        }
    }

    /// Services before the timers that start them.
    fn units(&self, Names { run, status, drill }: &Names, at: &[TimeOfDay]) -> Vec<File> {
        let calendar: Vec<String> = if self.flags.on_calendar.is_empty() {
            at.iter().map(|time| format!("*-*-* {time}:00")).collect()
        } else {
            self.flags.on_calendar.clone()
        };
        let mut files = vec![
            self.service(run, "run", run),
            self.service(status, "status", run),
            self.timer(run, "run", &calendar),
            self.timer(status, "status", &["hourly".to_owned()]),
        ];
        if let Some(drills) = &self.drills {
            files.push(self.service(drill, "drill", run));
            files.push(self.timer(drill, "drill", &drills.cadence.calendar()));
        }
        files
    }

    fn service(&self, name: &str, what: &str, run: &str) -> File {
        let (command, needs) = match (what, &self.drills) {
            ("status", _) => (self.status(), self.needs),
            ("drill", Some(drills)) => (self.drill(), &drills.needs),
            _ => (self.run(), self.needs),
        };
        let name = format!("{name}.service");
        let service = Service {
            mark: self.mark,
            description: &format!("backupctl {what}{}", self.of_jobs()),
            name: &name,
            user: &self.user.name,
            is_root: self.user.id == 0,
            command: &command,
            on_failure: self.flags.on_failure.as_deref(),
            needs,
        };
        let text = match what {
            "status" => service.of_status(),
            "drill" => service.of_drill(run),
            _ => service.of_run(),
        };
        self.file(&name, text)
    }

    fn timer(&self, name: &str, what: &str, calendar: &[String]) -> File {
        let name = format!("{name}.timer");
        let is_status = what == "status";
        let delay = self.flags.random_delay.filter(|_| !is_status);
        let timer = Timer {
            mark: self.mark,
            description: &format!("when backupctl {what} is started{}", self.of_jobs()),
            name: &name,
            calendar,
            random_delay: delay.unwrap_or(USUAL_DELAY),
            is_persistent: !is_status,
        };
        self.file(&name, timer.text())
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

fn drills(
    flags: &Schedule,
    config: &Config,
    at: &[TimeOfDay],
    (restores, program): (&[&Restore], &Path),
) -> Outcome<Option<Drills>> {
    let Some(every) = config.drill.every else {
        return if flags.drill_at.is_none() {
            Ok(None)
        } else {
            let told = "`--drill-at` says when, but nothing asks for drills";
            Err(Failed::new(Verdict::Usage, told).hint("set `every` in [drill], such as \"8d\""))
        };
    };
    Ok(Some(Drills {
        cadence: Cadence::of(every, at, flags.drill_at),
        needs: Needs::of_drills(config, restores, program),
    }))
}

/// `backupctl-run`, with the jobs' names where not all are meant. cron.d takes no other punctuation.
fn name(command: &str, jobs: &[String]) -> Outcome<String> {
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
            let duration = crate::config::parse_duration(text).expect(text);
            assert_eq!(typed(duration), text);
        }
    }
}
