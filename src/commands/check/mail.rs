//! The links to the mail server, up to the login; nothing is sent.

use std::time::Duration;

use super::answers;
use super::chain::Chain;
use super::here::Opened;
use crate::commands::{App, reach};
use crate::config::Email;
use crate::escape::shown;
use crate::notify::email;

/// For TLS, greeting and login together.
const DEADLINE: Duration = Duration::from_mins(1);

pub async fn log_in(app: &App, chain: &mut Chain, email: &Email, opened: &Opened) {
    let patience = app.config.network.timeout;
    let links = ["mail dns", "mail tcp"];
    if !answers(chain, &reach::of_mail(email), links, patience).await {
        return chain.skip(&["mail login"], "mail tcp");
    }
    if !opened.has(&email.password) {
        return chain.skip(&["mail login"], "secret");
    }
    let password = opened.get(email.password.as_ref());
    let entered = email::log_in(email, password.as_ref(), DEADLINE).await;
    chain.take("mail login", entered, |()| {
        let server = format!("{}:{}", shown(&email.server), email.port);
        match &email.user {
            Some(user) => format!("{} at {server}; nothing was sent", shown(user)),
            None => format!("{server} asks for none; nothing was sent"),
        }
    });
}
