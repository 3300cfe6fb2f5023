//! Reads `[drill]`: where drills restore to, how often there should be one, and what must hold in it.

use std::time::Duration;

use super::restores::{check, each};
use super::section::Section;
use super::{Drill, DrillCheck, DrillPlace};

pub fn drill(root: &mut Section<'_>) -> Drill {
    let jobs = root.section("restores");
    let jobs: Vec<&str> = jobs.map(|jobs| jobs.names()).unwrap_or_default();
    let Some(mut section) = root.section("drill") else {
        return Drill::default();
    };
    let places = [("server", DrillPlace::Server), ("local", DrillPlace::Local)];
    let drill = Drill {
        place: section.choice("where", &places, DrillPlace::Server),
        every: every(&mut section),
        checks: each(&mut section, "checks", |section| {
            drill_check(section, &jobs)
        }),
    };
    section.finish();
    drill
}

fn every(section: &mut Section<'_>) -> Option<Duration> {
    let is_set = section.has("every");
    let every = section.duration("every", Duration::ZERO);
    if is_set && every.is_zero() {
        section.problem("every", "must be longer than zero");
    }
    (!every.is_zero()).then_some(every)
}

fn drill_check(mut section: Section<'_>, jobs: &[&str]) -> Option<DrillCheck> {
    let job = section.text("job");
    if let Some(job) = job.as_deref().filter(|job| !jobs.contains(job)) {
        let known = jobs.join(", ");
        section.problem("job", &format!("there is no job \"{job}\"; known: {known}"));
    }
    let check = check(section)?;
    Some(DrillCheck { job, check })
}
