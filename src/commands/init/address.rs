//! Addresses as people type them: `scheme://user@host:port/path?host=…`.

use std::path::Path;

use crate::verdict::{Failed, Outcome, Verdict};

/// The parts of an address, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: String,
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// With its first `/`; empty where there is none.
    pub path: String,
}

impl Address {
    /// With one of these schemes.
    ///
    /// # Errors
    /// `usage`: what is wrong with it. What was typed is not repeated where a password stands in it.
    pub fn parse(text: &str, schemes: &[&str]) -> Outcome<Self> {
        let wrong = |why: &str| Err(Failed::new(Verdict::Usage, why));
        let Some((scheme, rest)) = text.split_once("://") else {
            return wrong(&format!(
                "an address begins with {}://",
                schemes.join(":// or ")
            ));
        };
        if !schemes.contains(&scheme) {
            return wrong(&format!(
                "an address begins with {}://",
                schemes.join(":// or ")
            ));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        // A user may be a mail address.
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return wrong(
                "no password belongs into an address, where others can see it; it is asked for, or read from a file",
            );
        }
        let Some((host, port)) = host_and_port(server) else {
            return wrong("the port is no number between 1 and 65535");
        };
        let mut host = decoded(host);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if name == "host" {
                host = decoded(value);
            }
        }
        if host.is_empty() {
            return wrong("it names no host");
        }
        let address = Self {
            scheme: scheme.to_owned(),
            user: user.map(decoded).filter(|user| !user.is_empty()),
            host,
            port,
            path: decoded(path),
        };
        if address.is_odd() {
            return wrong("there are control characters in it, or what is no UTF-8");
        }
        Ok(address)
    }
}

impl Address {
    /// Whether something in it, once decoded, is no text that anybody means.
    fn is_odd(&self) -> bool {
        let texts = [
            self.user.as_deref(),
            Some(self.host.as_str()),
            Some(&self.path),
        ];
        let mut characters = texts.into_iter().flatten().flat_map(str::chars);
        characters.any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
    }
}

/// `host:22`, `[::1]:22`, or without a port; None: that is no port.
fn host_and_port(server: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = match server
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some(bracketed) => bracketed,
        None => server
            .find(':')
            .map_or((server, ""), |at| server.split_at(at)),
    };
    if rest.is_empty() {
        return Some((host, None));
    }
    let port = rest
        .strip_prefix(':')?
        .parse()
        .ok()
        .filter(|port| *port > 0)?;
    Some((host, Some(port)))
}

/// `%40` is `@`; whatever is no such code stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let code = code.filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        if let Some(decoded) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            out.push(decoded);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether what was typed for a store means a directory.
pub fn is_directory(text: &str) -> bool {
    !text.contains("://") && Path::new(text).is_absolute()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Address {
        Address::parse(text, &["sftp", "postgresql", "smtp"]).expect(text)
    }

    #[test]
    fn an_address_is_taken_apart_and_decoded() {
        let store = parsed("sftp://back%40up@nas.example.org:2222/my backups/100%");
        assert_eq!(store.user.as_deref(), Some("back@up"));
        assert_eq!(
            (store.host.as_str(), store.port),
            ("nas.example.org", Some(2222))
        );
        assert_eq!(store.path, "/my backups/100%");
        let mail = parsed("smtp://backup@example.org@smtp.example.org");
        assert_eq!(mail.user.as_deref(), Some("backup@example.org"));
        assert_eq!(
            (mail.host.as_str(), mail.path.as_str()),
            ("smtp.example.org", "")
        );
        let v6 = parsed("sftp://u@[fe80::1]:22/x");
        assert_eq!((v6.host.as_str(), v6.port), ("fe80::1", Some(22)));
        for socket in [
            "postgresql://u@/erp?host=/run/postgresql",
            "postgresql://u@%2Frun%2Fpostgresql/erp",
        ] {
            let socket = parsed(socket);
            assert_eq!(
                (socket.host.as_str(), socket.path.as_str()),
                ("/run/postgresql", "/erp")
            );
        }
    }

    #[test]
    fn what_is_no_address_says_why_and_repeats_no_password() {
        for (text, why) in [
            ("nas:/backups", "begins with"),
            ("ftp://nas/backups", "begins with"),
            ("sftp://u@nas:0/x", "port"),
            ("sftp://u@nas:ssh/x", "port"),
            ("sftp://u@/x", "no host"),
            ("sftp://u:canary@nas/x", "no password"),
            ("sftp://u@nas/a%0Ab", "control characters"),
            ("sftp://u%00@nas/a", "control characters"),
            ("sftp://u@nas/a%FF", "no UTF-8"),
        ] {
            let failed = Address::parse(text, &["sftp"]).expect_err(text);
            assert!(
                failed.message().contains(why),
                "{text}: {}",
                failed.message()
            );
            assert!(!failed.message().contains("canary"));
        }
    }
}
