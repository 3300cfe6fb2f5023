//! To whom a mail goes, and what became of it: one transaction per recipient, so that one who is refused costs no other
//! theirs. One attempt each; what was not delivered is the next run's to send.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt, Rset};
use lettre::transport::smtp::extension::{Extension, MailParameter};
use tokio::time::{Instant, timeout, timeout_at};

use super::compose::{Mail, compose};
use super::connection::{open, said};
use super::layout::duration_text;
use crate::config::Email;
use crate::escape::escaped;
use crate::report::Notified;
use crate::secret::Secret;
use crate::verdict::{Failed, Outcome, Verdict};

/// A server that was told goodbye and doesn't answer isn't worth waiting for.
const GOODBYE: Duration = Duration::from_secs(2);
/// Of a server's words, in characters.
const WORDS: usize = 500;

/// Sends `mail` to everybody in `email.to` within `deadline` altogether, and says for each what became of it.
pub async fn send(
    email: &Email,
    password: Option<&Secret>,
    mail: &Mail,
    deadline: Duration,
) -> Vec<Notified> {
    let until = Instant::now() + deadline;
    let mut post = Post {
        email,
        password,
        mail,
        connection: None,
        unreachable: None,
    };
    let mut told = Vec::new();
    for to in &email.to {
        let outcome = timeout_at(until, post.deliver(to))
            .await
            .unwrap_or_else(|_| Err(too_slow(deadline)));
        told.push(post.told(to, outcome));
    }
    post.goodbye().await;
    told
}

/// Goes as far as the login, within `deadline`, and sends nothing.
///
/// # Errors
/// As sending would fail before its first mail.
pub async fn log_in(email: &Email, password: Option<&Secret>, deadline: Duration) -> Outcome<()> {
    let entered = timeout(deadline, open(email, password)).await;
    let mut connection = entered.unwrap_or_else(|_| Err(too_slow(deadline)))?;
    // A missing answer to QUIT changes nothing.
    let _ = timeout(GOODBYE, connection.quit()).await;
    Ok(())
}

fn too_slow(deadline: Duration) -> Failed {
    let limit = duration_text(deadline.as_secs_f64());
    Failed::new(Verdict::Network, format!("not finished within {limit}")).hint(
        "check `notify.email.server`, the firewall, `port` and `security`: 587 is `starttls`, 465 is `tls`",
    )
}

/// One mail on its way to several people.
struct Post<'a> {
    email: &'a Email,
    password: Option<&'a Secret>,
    mail: &'a Mail,
    /// Open and between two transactions.
    connection: Option<AsyncSmtpConnection>,
    /// Why there is no connection: what stopped it for one recipient stops it for all.
    unreachable: Option<(String, Option<String>)>,
}

impl Post<'_> {
    /// The server's words about the accepted mail. Dropped in the middle, it drops the connection as well.
    async fn deliver(&mut self, to: &str) -> Outcome<String> {
        let (from, to) = (address(&self.email.from, "from")?, address(to, "to")?);
        let bytes = compose(self.mail, &from, &to)?;
        let mut connection = self.connected().await?;
        let outcome = transact(&mut connection, [&from, &to], &bytes).await;
        // After a refusal the server must be as before, or the next recipient gets a new connection.
        if outcome.is_ok() || connection.command(Rset).await.is_ok() {
            self.connection = Some(connection);
        }
        outcome
    }

    async fn connected(&mut self) -> Outcome<AsyncSmtpConnection> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        if let Some((reason, hint)) = &self.unreachable {
            let hint = hint.clone();
            return Err(Failed {
                hint,
                ..Failed::new(Verdict::Network, reason)
            });
        }
        open(self.email, self.password).await.inspect_err(|failed| {
            self.unreachable = Some((failed.message(), failed.hint.clone()));
        })
    }

    async fn goodbye(self) {
        if let Some(mut connection) = self.connection {
            // Everything is delivered by now; a missing answer to QUIT changes nothing.
            let _ = timeout(GOODBYE, connection.quit()).await;
        }
    }

    fn told(&self, to: &str, outcome: Outcome<String>) -> Notified {
        let (ok, words, hint) = match outcome {
            Ok(words) => (true, words, None),
            Err(failed) => (false, failed.message(), failed.hint),
        };
        let user = self.email.user.as_deref().unwrap_or_default();
        let words = without(&words, user, self.password);
        let hint = hint.map_or(String::new(), |hint| format!("; {hint}"));
        let server = escaped(&self.email.server);
        Notified {
            to: escaped(to),
            ok,
            message: format!("{server}:{}: {words}{hint}", self.email.port),
        }
    }
}

async fn transact(
    connection: &mut AsyncSmtpConnection,
    [from, to]: [&Mailbox; 2],
    bytes: &[u8],
) -> Outcome<String> {
    let mut parameters = Vec::new();
    if !(from.email.to_string().is_ascii() && to.email.to_string().is_ascii()) {
        if !connection
            .server_info()
            .supports_feature(Extension::SmtpUtfEight)
        {
            return Err(Failed::new(
                Verdict::Refused,
                "the mail server takes no addresses beyond ASCII (SMTPUTF8)",
            ));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    let refused = |what: &'static str| move |error: Error| said(what, &error);
    let sender = MailFrom::new(Some(from.email.clone()), parameters);
    connection
        .command(sender)
        .await
        .map_err(refused("the sender"))?;
    let recipient = Rcpt::new(to.email.clone(), Vec::new());
    connection
        .command(recipient)
        .await
        .map_err(refused("the recipient"))?;
    connection
        .command(Data)
        .await
        .map_err(refused("the message"))?;
    let accepted = connection
        .message(bytes)
        .await
        .map_err(refused("the message"))?;
    let words: Vec<&str> = accepted.message().collect();
    Ok(escaped(&format!("{} {}", accepted.code(), words.join(" "))))
}

/// One address, and nothing behind it: lettre's parser passes over what follows the first.
fn address(text: &str, setting: &str) -> Outcome<Mailbox> {
    let bad = || {
        Failed::new(Verdict::Config, format!("`{}` is no single mail address", escaped(text)))
            .hint(format!("write `name@host` or `Name <name@host>` in `notify.email.{setting}`, a string for each address"))
    };
    let mailbox: Mailbox = text.parse().map_err(|_| bad())?;
    let end = text.trim_end();
    let end = end.strip_suffix('>').unwrap_or(end).trim_end();
    let is_single = end.ends_with(&mailbox.email.to_string()) && !end.contains(char::is_control);
    is_single.then_some(mailbox).ok_or_else(bad)
}

/// A server may repeat what it was told: the password, or the base64 that carried it. Neither goes into a report.
fn without(words: &str, user: &str, password: Option<&Secret>) -> String {
    let mut words = words.to_owned();
    if let Some(password) = password
        .map(Secret::expose)
        .filter(|password| !password.is_empty())
    {
        let plain = format!("\0{user}\0{password}");
        let base64 = |text: &str| STANDARD.encode(text);
        for secret in [base64(&plain), base64(password), password.to_owned()] {
            words = words.replace(&secret, "<secret>");
        }
    }
    words.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_address_or_an_error_that_names_the_setting() {
        for good in [
            "ops@example.org",
            "Größe <ops@example.org>",
            " a@b.org ",
            "\"a, b\" <a@b.org>",
            "<a@b.org>",
        ] {
            assert!(address(good, "to").is_ok(), "{good}");
        }
        for bad in [
            "",
            "ops",
            "a@b.org, c@d.org",
            "a@b.org c@d.org",
            "a <a@b.org>, c <c@d.org>",
            "a@b.org\nBcc: c@d.org",
        ] {
            let failed = address(bad, "to").expect_err(bad);
            assert_eq!(failed.verdict, Verdict::Config, "{bad}");
            assert!(
                failed.hint.expect("a hint").contains("`notify.email.to`"),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_a_server_repeats_of_the_login_is_left_out() {
        let secret = Secret::new("canary".into());
        let words = "535 5.7.8 no: AUTH PLAIN AGJhY2t1cABjYW5hcnk=? or Y2FuYXJ5, that is canary";
        let shown = without(words, "backup", Some(&secret));
        assert_eq!(
            shown,
            "535 5.7.8 no: AUTH PLAIN <secret>? or <secret>, that is <secret>"
        );
    }
}
