//! What a first configuration says: by flags, and for what they leave open by questions, each asked again until it makes sense.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::address::{self, Address};
use crate::account;
use crate::cli::Init;
use crate::config::{MailSecurity, glob_problem, is_mail_address, is_plain_name};
use crate::escape::shown;
use crate::output::Output;
use crate::secret::{self, Secret};
use crate::verdict::{Explain, Failed, Judge, Outcome, Verdict};

/// How often a question is asked before the answers are given up.
const ATTEMPTS: u32 = 5;

const STORE: &str = "sftp://USER@HOST[:PORT]/PATH, or an absolute directory";
const DATABASE: &str = "postgresql://USER@HOST[:PORT]/NAME";

/// Everything that the files are made of.
#[derive(Debug)]
pub struct Answers {
    pub job: String,
    pub store: Place,
    pub pattern: String,
    pub database: Database,
    pub check: Option<String>,
    pub mail: Option<Mail>,
    pub state_dir: Option<String>,
}

#[derive(Debug)]
pub enum Place {
    Directory(String),
    Sftp(Sftp),
}

#[derive(Debug)]
pub struct Sftp {
    pub host: String,
    pub port: Option<u16>,
    pub user: String,
    pub path: String,
    pub password: Option<Secret>,
    pub private_key: Option<String>,
    pub passphrase: Option<Secret>,
}

#[derive(Debug)]
pub struct Database {
    pub host: String,
    pub port: Option<u16>,
    pub user: String,
    pub name: String,
    pub password: Option<Secret>,
}

#[derive(Debug)]
pub struct Mail {
    pub server: String,
    pub port: u16,
    pub security: MailSecurity,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub from: String,
    pub to: Vec<String>,
    pub ca_file: Option<String>,
}

impl Answers {
    pub fn store_name(&self) -> &'static str {
        match self.store {
            Place::Sftp(_) => "office",
            Place::Directory(_) => "disk",
        }
    }
}

/// Who answers: the flags, then a terminal, if there is one and it may be used.
pub struct Asker<'a> {
    pub output: &'a Output,
    pub flags: &'a Init,
    pub stop: &'a CancellationToken,
    pub may_ask: bool,
}

impl Asker<'_> {
    /// All of them, in the order of the file.
    ///
    /// # Errors
    /// `usage`: something is missing and nobody there to ask, or makes no sense; `interrupted`.
    pub async fn answers(&self) -> Outcome<Answers> {
        self.judge_flags()?;
        let store = self.store().await?;
        let pattern = self.text(
            self.flags.pattern.as_deref(),
            ("Which archives, by their names", "*.zip"),
            |typed| match glob_problem(typed) {
                None => Ok(()),
                Some(problem) => Err(Failed::new(Verdict::Usage, problem)),
            },
        );
        let pattern = pattern.await?;
        let database = self.database().await?;
        let job = self.job(&database.name).await?;
        let question = "SQL that must give at least 1 before anything goes live (empty: none),\n  such as: select count(*) from users";
        let check = self.text(self.flags.check.as_deref(), (question, ""), |_| Ok(()));
        let check = check.await?;
        let mail = self.mail().await?;
        Ok(Answers {
            job,
            store,
            pattern,
            database,
            check: Some(check).filter(|check| !check.is_empty()),
            mail,
            state_dir: self.flags.state_dir.as_deref().map(absolute).transpose()?,
        })
    }

    /// What is known to be missing before anybody has typed anything.
    fn judge_flags(&self) -> Outcome<()> {
        let flags = self.flags;
        let stdin = Path::new("-");
        let files = [
            &flags.store_password_file,
            &flags.passphrase_file,
            &flags.database_password_file,
            &flags.mail_password_file,
        ];
        if files
            .iter()
            .filter(|file| file.as_deref() == Some(stdin))
            .count()
            > 1
        {
            return Err(Failed::new(
                Verdict::Usage,
                "only one secret can come from stdin",
            ));
        }
        if self.may_ask {
            return Ok(());
        }
        let needed = [
            ("--store", flags.store.is_some()),
            ("--database", flags.database.is_some()),
            (
                "--mail-to",
                flags.mail.is_none() || !flags.mail_to.is_empty(),
            ),
        ];
        let missing = needed.iter().filter(|(_, is_given)| !is_given);
        let missing: Vec<&str> = missing.map(|(flag, _)| *flag).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let told = format!("nobody is asked, and {} is not given", missing.join(", "));
        Err(Failed::new(Verdict::Usage, told)
            .hint("give it, or start `backupctl init` on a terminal; `--help` has the form"))
    }

    async fn job(&self, database: &str) -> Outcome<String> {
        let usual = usual_job(database);
        let question = format!("Name of the job (empty: {usual})");
        let given = self.flags.job.as_deref();
        let given = given.or_else(|| (!self.may_ask).then_some(usual.as_str()));
        self.sensible(given, &question, |typed: &str| {
            let name = if typed.is_empty() { &usual } else { typed };
            let wrong = || {
                Failed::new(Verdict::Usage, format!("{} is no usable name", shown(name)))
                    .hint("letters, digits, `-` and `_`, 64 at most")
            };
            is_plain_name(name)
                .then(|| name.to_owned())
                .ok_or_else(wrong)
        })
        .await
    }

    async fn text(
        &self,
        given: Option<&str>,
        (question, usual): (&str, &str),
        judge: impl Fn(&str) -> Outcome<()>,
    ) -> Outcome<String> {
        let given = given.or_else(|| (!self.may_ask).then_some(usual));
        let judge = |typed: &str| judge(typed).map(|()| typed.to_owned());
        self.sensible_or(given, (question, Some(usual)), judge)
            .await
    }

    /// What is given, or what is typed, as soon as `judge` takes it.
    async fn sensible<T>(
        &self,
        given: Option<&str>,
        question: &str,
        judge: impl Fn(&str) -> Outcome<T>,
    ) -> Outcome<T> {
        self.sensible_or(given, (question, None), judge).await
    }

    async fn sensible_or<T>(
        &self,
        given: Option<&str>,
        (question, usual): (&str, Option<&str>),
        judge: impl Fn(&str) -> Outcome<T>,
    ) -> Outcome<T> {
        if let Some(given) = given {
            return judge(given);
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let typed = self.output.ask(question, usual, self.stop).await?;
            match printable(&typed).and_then(|()| judge(&typed)) {
                Ok(value) => return Ok(value),
                Err(failed) => {
                    self.output.error(&failed);
                    last = Some(failed);
                }
            }
        }
        Err(last.unwrap_or_else(|| Failed::new(Verdict::Usage, "no answer")))
    }

    /// From the file, else typed; None: there is none.
    async fn secret(&self, file: Option<&Path>, question: &str) -> Outcome<Option<Secret>> {
        let secret = match file {
            Some(file) if file == Path::new("-") => {
                let prompt = format!("{question}: ");
                Some(self.output.ask_secret(&prompt, self.stop).await?)
            }
            Some(file) => Some(read(file)?),
            None if self.may_ask => self.output.ask_hidden(question, self.stop).await?,
            None => None,
        };
        if let Some(secret) = &secret {
            self.output.scrubber.learn(secret);
        }
        Ok(secret)
    }

    async fn store(&self) -> Outcome<Place> {
        let question = format!("Where are the archives?\n  {STORE}");
        let place = self
            .sensible(self.flags.store.as_deref(), &question, place)
            .await?;
        let Place::Sftp(mut sftp) = place else {
            return Ok(place);
        };
        let flags = self.flags;
        let is_by_key = flags.private_key.is_some();
        if !is_by_key || flags.store_password_file.is_some() {
            let question = "Password there (not shown; empty: a private key)";
            sftp.password = self
                .secret(flags.store_password_file.as_deref(), question)
                .await?;
        }
        sftp.private_key = self.private_key(sftp.password.is_some()).await?;
        if sftp.private_key.is_some() {
            let question = "Passphrase of that key (not shown; empty: none)";
            sftp.passphrase = self
                .secret(flags.passphrase_file.as_deref(), question)
                .await?;
        }
        Ok(Place::Sftp(sftp))
    }

    async fn private_key(&self, has_password: bool) -> Outcome<Option<String>> {
        if let Some(file) = &self.flags.private_key {
            return absolute(file).map(Some);
        }
        if has_password || !self.may_ask {
            return Ok(None);
        }
        let user = rustix::process::geteuid().as_raw().to_string();
        let home = account::find(&user).await?.map(|account| account.home);
        let judge = |typed: &str| {
            let file = match (typed.strip_prefix("~/"), &home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => typed.into(),
            };
            let is_file = !typed.is_empty() && file.is_file();
            let missing = || Failed::new(Verdict::Usage, "there is no such file");
            is_file.then_some(()).ok_or_else(missing)?;
            absolute(&file)
        };
        self.sensible(None, "Private key file, such as ~/.ssh/id_ed25519", judge)
            .await
            .map(Some)
    }

    async fn database(&self) -> Outcome<Database> {
        let question = format!("Which database is replaced?\n  {DATABASE}");
        let given = self.flags.database.as_deref();
        let mut database = self.sensible(given, &question, self::database).await?;
        let question = "Password there (not shown; empty: none)";
        let file = self.flags.database_password_file.as_deref();
        database.password = self.secret(file, question).await?;
        Ok(database)
    }

    async fn mail(&self) -> Outcome<Option<Mail>> {
        let flags = self.flags;
        if flags.mail.is_none() && !self.may_ask {
            return Ok(None);
        }
        let question =
            "Mail server for the report (empty: no mail)?\n  smtp://USER@HOST[:PORT], or smtps://…";
        let judge = |typed: &str| {
            if typed.is_empty() {
                Ok(None)
            } else {
                mail(typed).map(Some)
            }
        };
        let Some(mut mail) = self
            .sensible(flags.mail.as_deref(), question, judge)
            .await?
        else {
            return Ok(None);
        };
        if mail.user.is_some() {
            let file = flags.mail_password_file.as_deref();
            mail.password = self.secret(file, "Password there (not shown)").await?;
            if mail.password.is_none() {
                let failed = Failed::new(Verdict::Usage, "the mail user has no password");
                return Err(failed.hint("`--mail-password-file`, or an address without a user"));
            }
        }
        let usual = usual_from(mail.user.as_deref());
        mail.from = self
            .text(
                flags.mail_from.as_deref(),
                ("The report comes from", &usual),
                mail_address,
            )
            .await?;
        mail.to.clone_from(&flags.mail_to);
        if mail.to.is_empty() {
            let to = self.sensible(None, "And goes to (an address)", |typed: &str| {
                mail_address(typed).map(|()| typed.to_owned())
            });
            mail.to.push(to.await?);
        }
        mail.ca_file = flags.mail_ca_file.as_deref().map(absolute).transpose()?;
        Ok(Some(mail))
    }
}

/// What an arrow key leaves behind is no part of an answer.
fn printable(typed: &str) -> Outcome<()> {
    let is_printable = !typed.chars().any(char::is_control);
    let wrong = || Failed::new(Verdict::Usage, "there are control characters in it");
    is_printable.then_some(()).ok_or_else(wrong)
}

fn mail_address(typed: &str) -> Outcome<()> {
    let wrong = || {
        Failed::new(
            Verdict::Usage,
            format!("{} is no mail address", shown(typed)),
        )
    };
    is_mail_address(typed).then_some(()).ok_or_else(wrong)
}

/// Of a file, without its one trailing newline.
fn read(file: &Path) -> Outcome<Secret> {
    let bytes = secret::read_given(file)?;
    let text = std::str::from_utf8(&bytes);
    let text = text.judge(Verdict::Usage, format!("read {}", file.display()))?;
    let mut text = text.to_owned();
    if text.ends_with('\n') {
        text.pop();
    }
    let secret = Secret::new(text);
    if secret.expose().is_empty() {
        return Err(Failed::new(
            Verdict::Usage,
            format!("the secret in {} is empty", file.display()),
        ));
    }
    Ok(secret)
}

fn absolute(path: &Path) -> Outcome<String> {
    let told = || format!("use the path {}", path.display());
    let path = std::path::absolute(path).judge(Verdict::Usage, told())?;
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failed::new(Verdict::Usage, "a path in the configuration is UTF-8"))
        .context(told())
}

fn place(typed: &str) -> Outcome<Place> {
    if address::is_directory(typed) {
        return Ok(Place::Directory(typed.to_owned()));
    }
    let address = Address::parse(typed, &["sftp"])
        .context("read the store")
        .hint(STORE)?;
    let user = address
        .user
        .ok_or_else(|| needs("the store", "user", STORE))?;
    if address.path.is_empty() {
        return Err(needs("the store", "path", STORE));
    }
    Ok(Place::Sftp(Sftp {
        host: address.host,
        port: address.port,
        user,
        path: address.path,
        password: None,
        private_key: None,
        passphrase: None,
    }))
}

fn database(typed: &str) -> Outcome<Database> {
    let schemes = ["postgresql", "postgres"];
    let address = Address::parse(typed, &schemes)
        .context("read the database")
        .hint(DATABASE)?;
    let user = address
        .user
        .ok_or_else(|| needs("the database", "user", DATABASE))?;
    let name = address.path.trim_start_matches('/').to_owned();
    if name.is_empty() {
        return Err(needs("the database", "name", DATABASE));
    }
    Ok(Database {
        host: address.host,
        port: address.port,
        user,
        name,
        password: None,
    })
}

fn mail(typed: &str) -> Outcome<Mail> {
    let form = "smtp://USER@HOST[:PORT], or smtps:// for TLS from the first byte";
    let address = Address::parse(typed, &["smtp", "smtps"])
        .context("read the mail server")
        .hint(form)?;
    let is_here = ["localhost", "127.0.0.1", "::1"].contains(&address.host.as_str());
    let (security, usual_port) = match address.scheme.as_str() {
        "smtps" => (MailSecurity::Tls, 465),
        // A mail server for this machine alone has seldom a certificate that anybody would believe.
        _ if is_here && address.user.is_none() => (MailSecurity::None, 25),
        _ => (MailSecurity::StartTls, 587),
    };
    Ok(Mail {
        server: address.host,
        port: address.port.unwrap_or(usual_port),
        security,
        user: address.user,
        password: None,
        from: String::new(),
        to: Vec::new(),
        ca_file: None,
    })
}

fn needs(what: &str, part: &str, form: &str) -> Failed {
    Failed::new(Verdict::Usage, format!("{what} needs a {part}")).hint(form)
}

/// The database's name, where it can be one of a job.
fn usual_job(database: &str) -> String {
    if is_plain_name(database) {
        database.to_owned()
    } else {
        "nightly".to_owned()
    }
}

fn usual_from(user: Option<&str>) -> String {
    if let Some(user) = user.filter(|user| user.contains('@')) {
        format!("backupctl <{user}>")
    } else {
        let name = rustix::system::uname();
        let host = name.nodename().to_string_lossy().into_owned();
        format!("backupctl@{host}")
    }
}
