//! The body for a webhook, in the format that it wants.

use jiff::Timestamp;
use serde_json::Value;

use super::http::Message;
use super::summary;
use crate::config::WebhookFormat;
use crate::escape::escaped_json;
use crate::report::Record;
use crate::secret::{Scrubber, Secret};

/// A report's summary.
#[must_use]
pub fn about(record: &Record, format: WebhookFormat) -> Value {
    match format {
        WebhookFormat::Json => summary::fields(record),
        WebhookFormat::Slack => summary::slack(&summary::text(record)),
    }
}

/// What `backupctl notify --test` sends.
#[must_use]
pub fn test(run: &str, host: &str, now: Timestamp, format: WebhookFormat) -> Value {
    match format {
        WebhookFormat::Json => summary::test_fields(run, host, now),
        WebhookFormat::Slack => summary::slack(&summary::test_text(host)),
    }
}

/// The message as it is sent. A secret that got into the report on some way goes no further.
#[must_use]
pub fn message(body: Value, headers: Vec<(String, Secret)>, scrubber: &Scrubber) -> Message {
    let clean = cleaned(body, scrubber);
    Message {
        content_type: "application/json",
        headers,
        body: escaped_json(&clean.to_string()),
    }
}

fn cleaned(value: Value, scrubber: &Scrubber) -> Value {
    match value {
        Value::String(text) => Value::String(scrubber.scrub(&text).into_owned()),
        Value::Array(items) => items
            .into_iter()
            .map(|item| cleaned(item, scrubber))
            .collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, cleaned(value, scrubber)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learnt_secret_is_taken_out_wherever_it_stands() {
        let scrubber = Scrubber::default();
        scrubber.learn(&Secret::new("canary".into()));
        let body = serde_json::json!({"a": [{"b": "the canary sings"}], "n": 1});
        let sent = message(body, Vec::new(), &scrubber).body;
        assert_eq!(sent, r#"{"a":[{"b":"the <secret> sings"}],"n":1}"#);
    }
}
