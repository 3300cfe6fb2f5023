//! Where a drill restores to, from the first look to the last trace.

use std::collections::BTreeSet;

use crate::commands::restore::{self, Held, Restored, Suited, lost_on_the_way};
use crate::commands::space::Coming;
use crate::commands::{Job, stream};
use crate::config::{DrillPlace, Postgres};
use crate::database::cluster::{self, Cluster};
use crate::database::connection::Login;
use crate::database::dump::Toc;
use crate::database::preflight::Needs;
use crate::database::tools::Tool;
use crate::database::unmade::shaped;
use crate::database::{after_load, roles, scratch};
use crate::escape::quoted;
use crate::journal::Created;
use crate::run::Run;
use crate::state_dir;
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

use super::{Source, own};

/// Roles that files of `after_load` may name beside those of the dump.
const MORE_ROLES: usize = 1000;

/// The server of a drill, and the private cluster where it is one.
pub struct Ground {
    database: Postgres,
    run: Run,
    cluster: Option<Cluster>,
}

impl Ground {
    /// `tool`: what a private cluster is made with. It is in the journal before it is begun.
    pub async fn prepare(job: &Job<'_>, tool: Option<Tool>) -> Outcome<Self> {
        let Some(tool) = tool else {
            return Ok(Self {
                database: job.database.clone(),
                run: job.run.clone(),
                cluster: None,
            });
        };
        let database = settings_here(&tool, job)?;
        job.run.progress.note("making a private PostgreSQL server");
        let created = Created::Cluster(database.host.clone().into());
        job.run
            .journal
            .will_create(created)
            .judge(Verdict::Local, "write the journal")
            .hint("free space in `state_dir`, or mend its permissions")?;
        // What is made in it goes with it.
        let run = Run {
            journal: job.run.journal.within(),
            ..job.run.clone()
        };
        let login = Login {
            settings: database.clone(),
            password: None,
            application_name: run.id.application_name(),
            timeout: job.config.network.timeout,
        };
        let cluster = Cluster::start(&login, &tool, job.restore.jobs).await?;
        Ok(Self {
            database,
            run,
            cluster: Some(cluster),
        })
    }

    /// The job, with this server in place of its own.
    pub fn job<'a>(&'a self, job: &Job<'a>) -> Job<'a> {
        own::job(job, job.restore, &self.database, self.run.clone())
    }

    /// What is wrong with a private cluster says nothing about the backup.
    pub async fn judge<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        match (outcome, &self.cluster) {
            (Err(failed), Some(cluster)) => Err(cluster.judge(failed).await),
            (outcome, _) => outcome,
        }
    }

    /// Drops what was restored, and all that was made for it.
    pub async fn give_up(
        self,
        restored: Restored,
        login: Login,
        (job, run): (&Job<'_>, Run),
    ) -> Outcome<()> {
        restored.held.session.close().await;
        let Some(cluster) = self.cluster else {
            return scratch::drop_scratch(&login, &restored.scratch.name, &run).await;
        };
        let created = Created::Cluster(cluster.directory.clone());
        cluster.end().await?;
        job.run
            .journal
            .forget(&created)
            .judge(Verdict::Local, "write the journal")
    }
}

/// How the private cluster of this run is logged in to.
pub fn settings_here(tool: &Tool, job: &Job<'_>) -> Outcome<Postgres> {
    let directory = state_dir::drill(job.state_dir(), job.run.id.as_str());
    cluster::settings(&directory, tool, job.database)
}

/// Whether this machine can make a private cluster for the dump, asked before anything is downloaded.
pub async fn suits_here(toc: &Toc, job: &Job<'_>) -> Outcome<Tool> {
    let tool = cluster::choose(job.database.bin_dir.as_deref(), Some(&toc.header)).await?;
    cluster::server_user()?;
    settings_here(&tool, job)?;
    cluster::has_extensions(&tool, &extensions(toc, job)?).await?;
    Ok(tool)
}

/// Those of the part of the dump that goes in; who will own it changes nothing about them.
fn extensions(toc: &Toc, job: &Job<'_>) -> Outcome<BTreeSet<String>> {
    let selection = crate::database::dump::Selection::new(toc, &job.restore.contents, None)?;
    Ok(Needs::of(toc, &selection).extensions)
}

/// Everything that would make the load fail on this server. Nothing there is replaced.
pub async fn suits(held: &Held, toc: &Toc, coming: Coming, job: &Job<'_>) -> Outcome<Suited> {
    let selection = restore::selection(toc, &held.target, job)?;
    let asked = Needs {
        beside: true,
        ..restore::needs(toc, &selection, job)
    };
    let suited = restore::loadable(held, toc, (selection, asked, coming), job).await;
    suited.map_err(|failed| with_roles(failed, job))
}

/// A job that creates its missing roles is not told to do so.
fn with_roles(failed: Failed, job: &Job<'_>) -> Failed {
    let setting = "or `missing_roles = \"create\"` in the job";
    let is_about_roles = failed
        .hint
        .as_ref()
        .is_some_and(|hint| hint.contains(setting));
    if !is_about_roles || job.config.drill.place == DrillPlace::Local {
        return failed;
    }
    let hint = failed.hint.unwrap_or_default().replace(
        setting,
        "or `where = \"local\"` in [drill]: on the server only a `run` creates roles (`missing_roles = \"create\"`)",
    );
    Failed {
        hint: Some(hint),
        ..failed
    }
}

/// Loads the dump and proves that what its table of contents lists is there.
pub async fn load(ground: &Ground, mut source: Source, configured: &Job<'_>) -> Outcome<Restored> {
    let job = &ground.job(configured);
    let (session, target) = restore::look(job).await?;
    let held = Held { session, target };
    if ground.cluster.is_some() {
        make_ready(&held, &mut source, job).await?;
    }
    let suited = suits(&held, source.toc(), source.coming(), job).await?;
    let version = suited.tool.version.to_string();
    job.run
        .notes
        .drill(|drill| drill.pg_restore = Some(version));
    let restored = match source {
        Source::Stream(chosen) => {
            let ready = stream::ready(*chosen, suited, job)?;
            stream::load(held, ready, job).await?
        }
        Source::Unpacked(unpacked) => {
            suited.room.warn(job);
            let login = restore::login(job);
            let loading = restore::into_scratch(&login, &held.target, &suited, &unpacked, job);
            let scratch = loading.await.map_err(lost_on_the_way)?;
            unpacked.on_disk.wait().await?;
            Restored { scratch, held }
        }
    };
    if ground.cluster.is_some() {
        run_files(&restored, job, configured).await?;
    }
    Ok(restored)
}

impl Source {
    fn toc(&self) -> &Toc {
        match self {
            Self::Unpacked(unpacked) => &unpacked.toc,
            Self::Stream(chosen) => &chosen.contents.toc,
        }
    }

    fn toc_mut(&mut self) -> &mut Toc {
        match self {
            Self::Unpacked(unpacked) => &mut unpacked.toc,
            Self::Stream(chosen) => &mut chosen.contents.toc,
        }
    }

    fn coming(&self) -> Coming {
        match self {
            Self::Unpacked(unpacked) => unpacked.coming(),
            Self::Stream(chosen) => chosen.coming(),
        }
    }
}

/// What a private cluster lacks and the dump takes for granted: its roles, and maybe its locale.
async fn make_ready(held: &Held, source: &mut Source, job: &Job<'_>) -> Outcome<()> {
    // Where it lies is nobody's business once it is gone.
    if let Some(database) = &mut job.run.notes.lock().database {
        "localhost".clone_into(&mut database.host);
    }
    let toc = source.toc();
    let selection = restore::selection(toc, &held.target, job)?;
    let needs = restore::needs(toc, &selection, job);
    let made = roles::create_here(&held.session, &held.target, &needs).await?;
    tracing::info!(roles = made.len(), "created what the dump names");
    if shaped(&held.target, toc).live == held.target.live {
        return Ok(());
    }
    let login = restore::login(job);
    match restore::empty_scratch(&login, &held.target, toc, job).await {
        Ok(probe) => scratch::drop_scratch(&login, &probe.name, &job.run).await,
        Err(failed) if is_about_the_locale(&failed) => {
            job.run.notes.warn(format!(
                "this machine lacks the locale of the dump's database, so that sorting may differ: {}",
                failed.message()
            ));
            source.toc_mut().create_database = None;
            Ok(())
        }
        Err(failed) => Err(failed),
    }
}

fn is_about_the_locale(failed: &Failed) -> bool {
    let message = failed.message().to_lowercase();
    ["locale", "lc_collate", "lc_ctype", "icu"]
        .iter()
        .any(|word| message.contains(word))
}

/// The files of `after_load`. They may name roles that only the job's server has: those are made, as the dump's are.
async fn run_files(restored: &Restored, job: &Job<'_>, configured: &Job<'_>) -> Outcome<()> {
    let login = restore::login(job);
    let mut jobs = configured.config.restores.iter();
    let files = jobs.find(|restore| restore.name == job.restore.name);
    let mut made = Vec::new();
    for file in files.into_iter().flat_map(|restore| &restore.after_load) {
        let script = after_load::read(file)?;
        let stall = job.restore.stall;
        while let Err(failed) =
            after_load::run(&login, &restored.scratch.name, &script, stall).await
        {
            let role = missing_role(&failed).filter(|role| !made.contains(role));
            let Some(role) = role.filter(|_| made.len() < MORE_ROLES) else {
                return Err(failed);
            };
            let create = format!(
                "CREATE ROLE {} NOLOGIN",
                crate::database::connection::quote_identifier(&role)
            );
            restored.held.session.batch(&create).await?;
            made.push(role);
        }
    }
    if !made.is_empty() {
        let names: Vec<String> = made.iter().map(|role| quoted(role)).collect();
        job.run.notes.warn(format!(
            "`after_load` names roles that the dump does not; the private cluster got them: {}",
            names.join(", ")
        ));
    }
    Ok(())
}

/// `role "reporting" does not exist`.
fn missing_role(failed: &Failed) -> Option<String> {
    let message = failed.message();
    let (_, behind) = message.split_once("role \"")?;
    let (role, _) = behind.split_once("\" does not exist")?;
    Some(role.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_that_a_statement_lacks_is_read_from_what_the_server_says() {
        let said =
            "run `grants.sql`: line 3: ERROR: role \"re porting\" does not exist (SQLSTATE 42704)";
        let failed = Failed::new(Verdict::Failed, said);
        assert_eq!(missing_role(&failed).as_deref(), Some("re porting"));
        let failed = Failed::new(Verdict::Failed, "relation \"t\" does not exist");
        assert_eq!(missing_role(&failed), None);
    }
}
