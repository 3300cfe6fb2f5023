//! What a scheduled job must be able to do, so that its unit forbids the rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{
    AfterCheck, Config, DrillPlace, Notify, Postgres, Restore, SecretRef, SecretSource, Sftp,
    StoreKind,
};

/// What a run takes to end in order, apart from what is configured: it cleans up, then sends the mail.
const ENDING: Duration = Duration::from_mins(1);

/// Of all jobs that are scheduled together.
#[derive(Debug, Default)]
pub struct Needs {
    /// Files and directories that are read: whether they lie where a unit usually sees nothing.
    pub read: Vec<PathBuf>,
    /// Directories that are written.
    pub state_dir: PathBuf,
    /// Beside it: of the log, of the figures. What can't be written there is told, and ends no run.
    pub told_dirs: Vec<PathBuf>,
    /// Settings by which programs of the operator are started; what holds us would hold them.
    pub programs: Vec<&'static str>,
    /// A database server on this machine has to be up first.
    pub is_database_here: bool,
    /// A drill makes a PostgreSQL server here: its programs are started, as somebody else where we are root.
    pub makes_cluster: bool,
    /// How long an end in order may take: hooks and the exchange of names are not cut.
    pub ending: Duration,
}

impl Needs {
    pub fn of(config: &Config, restores: &[&Restore], program: &Path) -> Self {
        let told = [&config.log.file, &config.metrics.textfile];
        let told = told
            .into_iter()
            .filter_map(|file| file.as_deref()?.parent());
        let mut needs = Self {
            read: vec![program.to_owned(), config.file.clone()],
            state_dir: config.state_dir.clone(),
            told_dirs: told.map(Path::to_owned).collect(),
            ending: ENDING,
            ..Self::default()
        };
        let files = &config.secrets;
        let files = [&files.env_file, &files.key_file, &files.vault_file];
        needs.read.extend(files.into_iter().flatten().cloned());
        for restore in restores {
            needs.of_job(config, restore);
        }
        needs.of_telling(&config.notify, restores);
        needs.told_dirs.dedup();
        needs
    }

    /// As [`Self::of`], for drills: nothing goes live, so that no program of the job is started.
    pub fn of_drills(config: &Config, restores: &[&Restore], program: &Path) -> Self {
        let mut own: Vec<Restore> = restores.iter().map(|restore| (*restore).clone()).collect();
        for restore in &mut own {
            restore.before_swap.clear();
            restore.after_swap.clear();
            restore.after_checks.clear();
        }
        let own: Vec<&Restore> = own.iter().collect();
        Self {
            makes_cluster: config.drill.place == DrillPlace::Local,
            ..Self::of(config, &own, program)
        }
    }

    fn of_job(&mut self, config: &Config, restore: &Restore) {
        match config.stores.get(&restore.from).map(|store| &store.kind) {
            Some(StoreKind::Sftp(sftp)) => self.of_sftp(sftp),
            Some(StoreKind::Local(local)) => self.read.push(local.path.clone()),
            None => {}
        }
        if let Some(database) = config.databases.get(&restore.into) {
            self.of_database(database);
        }
        self.secret(restore.zip_password.as_ref());
        self.read.extend(restore.after_load.iter().cloned());
        let hooks = [
            ("before_swap", restore.before_swap.len()),
            ("after_swap", restore.after_swap.len()),
            (
                "after_checks",
                restore
                    .after_checks
                    .iter()
                    .filter(|check| matches!(check, AfterCheck::Command(_)))
                    .count(),
            ),
        ];
        let mut started = 0;
        for (setting, count) in hooks.into_iter().filter(|(_, count)| *count > 0) {
            self.program(setting);
            started += u32::try_from(count).unwrap_or(u32::MAX);
        }
        let ending = restore.hook_timeout.saturating_mul(started);
        let ending = ending
            .saturating_add(restore.sessions_timeout)
            .saturating_add(ENDING);
        self.ending = self.ending.max(ending);
    }

    fn of_sftp(&mut self, sftp: &Sftp) {
        self.read.push(sftp.known_hosts.clone());
        self.read.extend(sftp.private_key.clone());
        self.secret(sftp.password.as_ref());
        self.secret(sftp.passphrase.as_ref());
    }

    fn of_database(&mut self, database: &Postgres) {
        let files = [
            &database.sslrootcert,
            &database.sslcert,
            &database.sslkey,
            &database.bin_dir,
        ];
        self.read.extend(files.into_iter().flatten().cloned());
        let is_socket = database.host.starts_with('/');
        if is_socket {
            self.read.push(database.host.clone().into());
        }
        let is_loopback = ["localhost", "127.0.0.1", "::1"].contains(&database.host.as_str());
        self.is_database_here |= is_socket || is_loopback;
        self.secret(database.password.as_ref());
    }

    fn of_telling(&mut self, notify: &Notify, restores: &[&Restore]) {
        self.read.extend(notify.ca_file.clone());
        if let Some(email) = &notify.email {
            self.read.extend(email.ca_file.clone());
            self.secret(email.password.as_ref());
        }
        if let Some(webhook) = &notify.webhook {
            self.read.extend(webhook.ca_file.clone());
            for reference in webhook.references() {
                self.secret(Some(reference));
            }
        }
        let pings = { restores.iter() }.filter_map(|restore| notify.ping_of(restore));
        for ping in pings {
            self.secret(ping.reference());
        }
    }

    fn secret(&mut self, reference: Option<&SecretRef>) {
        for source in reference
            .into_iter()
            .flat_map(|reference| &reference.sources)
        {
            match source {
                SecretSource::File(path) => self.read.push(path.clone()),
                SecretSource::Command(_) => self.program("command:"),
                SecretSource::Env(_) | SecretSource::Vault(_) | SecretSource::Credentials(_) => {}
            }
        }
    }

    fn program(&mut self, setting: &'static str) {
        if !self.programs.contains(&setting) {
            self.programs.push(setting);
        }
    }

    /// Whether anything that is read or written lies below one of these.
    pub fn is_any_below(&self, directories: &[&str]) -> bool {
        let written = std::iter::once(&self.state_dir).chain(&self.told_dirs);
        let mut all = self.read.iter().chain(written);
        all.any(|path| {
            directories
                .iter()
                .any(|directory| path.starts_with(directory))
        })
    }
}
