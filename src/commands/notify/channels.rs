//! The channels that a report goes out by, mail and webhook, each with its secrets, its deadline and its result.

use std::time::Duration;

use jiff::Timestamp;

use crate::commands::App;
use crate::config::{Config, Email, Endpoint, HttpUrl, Restore, SecretRef, Webhook};
use crate::notify::compose::Mail;
use crate::notify::http::{self, Way};
use crate::notify::{email, webhook};
use crate::report::{Notified, Record};
use crate::run::RunId;
use crate::secret::{Secret, Secrets};
use crate::state_dir;
use crate::verdict::{Failed, Outcome, Verdict};

/// For all recipients of one mail together; a slow mail server must not keep the job's lock for long.
pub const DEADLINE: Duration = Duration::from_mins(2);
/// After a signal: whoever sent it is waiting for the end.
const HURRY: Duration = Duration::from_secs(5);

/// What goes out.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    Report(&'a Record),
    Test,
}

/// Those that are configured, or some of them.
#[derive(Debug, Clone)]
pub struct Channels {
    email: Option<Email>,
    webhook: Option<Webhook>,
}

impl Channels {
    /// None where there is none.
    pub fn of(config: &Config) -> Option<Self> {
        let (email, webhook) = (&config.notify.email, &config.notify.webhook);
        (email.is_some() || webhook.is_some()).then(|| Self {
            email: email.clone(),
            webhook: webhook.clone(),
        })
    }

    /// Only those who are wanted, by the name that the report has for them; None where that is nobody.
    pub fn only(&self, is_wanted: impl Fn(&str) -> bool, is_webhook_wanted: bool) -> Option<Self> {
        let mut some = self.clone();
        if let Some(email) = &mut some.email {
            email.to.retain(|to| is_wanted(to));
        }
        some.email = some.email.filter(|email| !email.to.is_empty());
        some.webhook = some.webhook.filter(|_| is_webhook_wanted);
        (some.email.is_some() || some.webhook.is_some()).then_some(some)
    }

    /// Opens every secret, and judges what it is.
    ///
    /// # Errors
    /// `config`.
    pub async fn judge(&self, app: &App) -> Outcome<()> {
        if let Some(email) = &self.email {
            password(app, email).await?;
        }
        if let Some(webhook) = &self.webhook {
            Post::open(app, webhook).await?;
        }
        Ok(())
    }

    /// All at the same time: who is slow keeps nobody else waiting.
    pub async fn send(&self, app: &App, what: What<'_>) -> Vec<Notified> {
        let (mut told, posted) = tokio::join!(self.mail(app, what), self.post(app, what));
        told.extend(posted);
        told
    }

    async fn mail(&self, app: &App, what: What<'_>) -> Vec<Notified> {
        let Some(email) = &self.email else {
            return Vec::new();
        };
        let sent = in_time(app, "mail server", send_mail(app, email, what)).await;
        sent.unwrap_or_else(|failed| {
            let told = |to: &String| missed(to, &failed);
            email.to.iter().map(told).collect()
        })
    }

    async fn post(&self, app: &App, what: What<'_>) -> Option<Notified> {
        let webhook = self.webhook.as_ref()?;
        // The name that it has as long as its URL is not known.
        let mut to = webhook.url.setting().to_owned();
        let sending = async {
            let post = Post::open(app, webhook).await?;
            to = post.way.endpoint.origin();
            post.send(app, what).await
        };
        let sent = in_time(app, "webhook's server", sending).await;
        Some(match sent {
            Ok(message) => Notified {
                to,
                ok: true,
                message,
            },
            Err(failed) => Notified {
                message: app.output.scrubber.scrub(&words(&failed)).into_owned(),
                to,
                ok: false,
            },
        })
    }

    /// What a dry run says.
    ///
    /// # Errors
    /// `config`: a secret is missing.
    pub async fn would_be_told(&self, app: &App) -> Outcome<Vec<Notified>> {
        self.judge(app).await?;
        let mut told = Vec::new();
        if let Some(email) = &self.email {
            let message = format!("would be told by {}:{}", email.server, email.port);
            told.extend(email.to.iter().map(|to| Notified {
                to: to.clone(),
                ok: true,
                message: message.clone(),
            }));
        }
        if let Some(webhook) = &self.webhook {
            let post = Post::open(app, webhook).await?;
            told.push(Notified {
                to: post.way.endpoint.origin(),
                ok: true,
                message: "would be told".to_owned(),
            });
        }
        Ok(told)
    }
}

fn missed(to: &str, failed: &Failed) -> Notified {
    Notified {
        to: to.to_owned(),
        ok: false,
        message: words(failed),
    }
}

/// With what to do, in one line.
pub fn words(failed: &Failed) -> String {
    let hint = failed.hint.as_ref();
    let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
    format!("{}{hint}", failed.message())
}

/// Whether a report's `to` means the webhook: its origin, or its setting where the URL could not be opened.
pub fn is_webhook(to: &str) -> bool {
    to.starts_with("https://") || to.starts_with("http://") || to == "notify.webhook.url"
}

/// After a signal there is only a short while left, after a second one none.
pub async fn in_time<T>(
    app: &App,
    whom: &str,
    sending: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    tokio::select! {
        sent = sending => sent,
        why = app.signals.patience_after_stop(HURRY) => Err(Failed::new(
            Verdict::Network,
            format!("the {whom} was not waited for any longer: {why}"),
        )),
    }
}

async fn send_mail(app: &App, email: &Email, what: What<'_>) -> Outcome<Vec<Notified>> {
    let password = password(app, email).await?;
    let mail = match what {
        What::Report(record) => {
            let log = email.attach_log.then(|| run_log(app, record)).flatten();
            Mail::about(record, super::text(app, record), log)
        }
        What::Test => {
            let (id, host, now) = test();
            Mail::test(&id, &host, now)
        }
    };
    Ok(email::send(email, password.as_ref(), &mail, DEADLINE).await)
}

fn test() -> (String, String, Timestamp) {
    let now = Timestamp::now();
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy().into_owned();
    (RunId::new(now).to_string(), host, now)
}

async fn password(app: &App, email: &Email) -> Outcome<Option<Secret>> {
    let needed: Vec<_> = email.password.iter().collect();
    let secrets = opened(app, &needed).await?;
    let reference = email.password.as_ref();
    Ok(reference.map(|reference| secrets.get(reference).clone()))
}

/// From now on nothing of them is shown anywhere.
async fn opened(app: &App, needed: &[&SecretRef]) -> Outcome<Secrets> {
    let secrets = Secrets::open(&app.config.secrets, needed).await?;
    secrets.teach(&app.output.scrubber);
    Ok(secrets)
}

fn run_log(app: &App, record: &Record) -> Option<String> {
    let log = std::fs::read(state_dir::run_log(&app.config.state_dir, &record.run)).ok()?;
    Some(String::from_utf8_lossy(&log).into_owned())
}

/// A webhook with its secrets open.
struct Post<'a> {
    webhook: &'a Webhook,
    way: Way,
    headers: Vec<(String, Secret)>,
}

impl<'a> Post<'a> {
    async fn open(app: &App, webhook: &'a Webhook) -> Outcome<Self> {
        let needed: Vec<&SecretRef> = webhook.references().collect();
        let secrets = opened(app, &needed).await?;
        let headers = webhook.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), secrets.get(value).clone()));
        let headers: Vec<(String, Secret)> = headers.collect();
        learn_words(app, &headers);
        Ok(Self {
            webhook,
            way: Way {
                endpoint: endpoint(app, &webhook.url, "", &secrets)?,
                ca_file: webhook.ca_file.clone(),
                setting: webhook.url.setting().to_owned(),
            },
            headers,
        })
    }

    async fn send(&self, app: &App, what: What<'_>) -> Outcome<String> {
        let format = self.webhook.format;
        let body = match what {
            What::Report(record) => webhook::about(record, format),
            What::Test => {
                let (id, host, now) = test();
                webhook::test(&id, &host, now, format)
            }
        };
        let message = webhook::message(body, self.headers.clone(), &app.output.scrubber);
        http::post(&self.way, &message, http::BOUNDS).await
    }
}

/// Whether every URL that the job tells somebody by is one, before anything is begun.
///
/// # Errors
/// `config`.
pub fn judge_urls(app: &App, restore: &Restore, secrets: &Secrets) -> Outcome<()> {
    let notify = &app.config.notify;
    let webhook = notify.webhook.as_ref().map(|webhook| &webhook.url);
    for url in webhook.into_iter().chain(notify.ping_of(restore)) {
        endpoint(app, url, &restore.name, secrets)?;
    }
    Ok(())
}

/// Who repeats a token leaves out the `Bearer` before it.
fn learn_words(app: &App, headers: &[(String, Secret)]) {
    const SHORTEST: usize = 8;
    let values = headers.iter().map(|(_, value)| value.expose());
    let words = values.flat_map(str::split_whitespace);
    for word in words.filter(|word| word.len() >= SHORTEST) {
        app.output.scrubber.learn(&Secret::new(word.to_owned()));
    }
}

/// The way of a URL whose secret, where it is one, gets opened here.
///
/// # Errors
/// `config`.
pub async fn way(app: &App, url: &HttpUrl, job: &str) -> Outcome<Way> {
    let needed: Vec<&SecretRef> = url.reference().into_iter().collect();
    let secrets = opened(app, &needed).await?;
    Ok(Way {
        endpoint: endpoint(app, url, job, &secrets)?,
        ca_file: app.config.notify.ca_file.clone(),
        setting: url.setting().to_owned(),
    })
}

/// What is secret of a URL is kept from being shown also where it was written down.
fn endpoint(app: &App, url: &HttpUrl, job: &str, secrets: &Secrets) -> Outcome<Endpoint> {
    let text = match url {
        HttpUrl::Written { url, .. } => url,
        HttpUrl::Referred(reference) => secrets.get(reference).expose(),
    };
    let endpoint = Endpoint::parse(&text.replace("{job}", job)).map_err(|why| {
        Failed::new(Verdict::Config, format!("`{}` {why}", url.setting()))
            .hint("the secret that it names must be a whole URL, such as https://hc-ping.com/…")
    })?;
    for part in endpoint.secret_parts() {
        app.output.scrubber.learn(&Secret::new(part));
    }
    Ok(endpoint)
}
