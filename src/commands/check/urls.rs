//! The links to webhook and ping, up to a proven certificate; nothing is sent.

use super::answers;
use super::chain::Chain;
use super::here::Opened;
use crate::commands::App;
use crate::commands::notify::channels;
use crate::config::{HttpUrl, Restore};
use crate::network::{Address, Target};
use crate::notify::http::{self, Way};

/// The names of one URL's links.
struct Names {
    url: &'static str,
    connection: [&'static str; 2],
    tls: &'static str,
}

const WEBHOOK: Names = Names {
    url: "webhook",
    connection: ["webhook dns", "webhook tcp"],
    tls: "webhook tls",
};
const PING: Names = Names {
    url: "ping",
    connection: ["ping dns", "ping tcp"],
    tls: "ping tls",
};

/// Those of the job's webhook and ping; nothing where it has none.
pub async fn links(app: &App, chain: &mut Chain, restore: &Restore, opened: &Opened) {
    let notify = &app.config.notify;
    if let Some(webhook) = &notify.webhook {
        let way = channels::way(app, &webhook.url, &restore.name);
        if let Some(way) = entered(chain, (&WEBHOOK, &webhook.url), opened, way).await {
            let ca_file = webhook.ca_file.clone();
            shaken(app, chain, &WEBHOOK, Way { ca_file, ..way }).await;
        }
    }
    if let Some(url) = notify.ping_of(restore) {
        let way = channels::way(app, url, &restore.name);
        if let Some(way) = entered(chain, (&PING, url), opened, way).await {
            let is_shared = is_shared(app, restore, &way).await;
            shaken(app, chain, &PING, way).await;
            if is_shared {
                chain.warn(&[format!(
                    "other jobs have the same `{}`, so that one's success hides another's silence; write {{job}} into it, or give \
                     each job its own `ping`",
                    url.setting()
                )]);
            }
        }
    }
}

/// Whether another job's success would pass for this one's.
async fn is_shared(app: &App, restore: &Restore, way: &Way) -> bool {
    for other in app
        .config
        .restores
        .iter()
        .filter(|r| r.name != restore.name)
    {
        let Some(url) = app.config.notify.ping_of(other) else {
            continue;
        };
        let theirs = channels::way(app, url, &other.name).await;
        if theirs.is_ok_and(|theirs| theirs.endpoint == way.endpoint) {
            return true;
        }
    }
    false
}

/// Where it leads, if its secret is there and is a URL.
async fn entered(
    chain: &mut Chain,
    (names, url): (&Names, &HttpUrl),
    opened: &Opened,
    way: impl Future<Output = crate::verdict::Outcome<Way>>,
) -> Option<Way> {
    if !opened.has(url.reference()) {
        chain.skip(&[names.url], "secret");
        return None;
    }
    match way.await {
        Ok(way) => Some(way),
        Err(failed) => {
            chain.failed(names.url, &failed);
            None
        }
    }
}

async fn shaken(app: &App, chain: &mut Chain, names: &Names, way: Way) {
    let target = Target {
        setting: way.setting.clone(),
        address: Address::Tcp(way.endpoint.host(), way.endpoint.port()),
        required: false,
    };
    if !answers(chain, &target, names.connection, app.config.network.timeout).await {
        if way.endpoint.is_tls() {
            chain.skip(&[names.tls], names.connection[1]);
        }
        return;
    }
    if !way.endpoint.is_tls() {
        return;
    }
    let shaken = http::shake_hands(&way).await;
    chain.take(names.tls, shaken, |()| {
        format!("{}; nothing was sent", way.endpoint.origin())
    });
}
