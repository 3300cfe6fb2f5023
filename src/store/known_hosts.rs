//! OpenSSH's known_hosts: who may be trusted (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). Pure parsing and matching, and one careful append.
//!
//! It fails closed: a line that can't be read trusts nobody, and a revocation that can't be read stops everything it may mean.
//! `@cert-authority` lines are not supported; they trust nobody here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use data_encoding::{BASE64, BASE64_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A public host key as known_hosts writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256` …
    pub algorithm: String,
    /// The key's wire form (RFC 4253, section 6.6).
    pub blob: Vec<u8>,
}

impl Key {
    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        format!(
            "SHA256:{}",
            BASE64_NOPAD.encode(&Sha256::digest(&self.blob))
        )
    }

    fn parse(algorithm: &str, base64: &str) -> Option<Self> {
        let blob = BASE64.decode(base64.as_bytes()).ok()?;
        // The blob begins with its own type; a line that says another one is broken.
        let length = u32::from_be_bytes(blob.get(..4)?.try_into().ok()?);
        let stated = blob.get(4..4 + usize::try_from(length).ok()?)?;
        (stated == algorithm.as_bytes()).then(|| Self {
            algorithm: algorithm.to_owned(),
            blob,
        })
    }
}

/// What known_hosts says about a host and the key it presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Same,
    /// Another key of this type is known; the fingerprint and line of the known one.
    Changed {
        fingerprint: String,
        line: usize,
    },
    /// `@revoked` in this line.
    Revoked {
        line: usize,
    },
    /// An `@revoked` for this host in this line can't be read.
    BrokenRevocation {
        line: usize,
    },
    Unknown {
        /// Keys of other types that are known for it: type and line.
        others: Vec<(String, usize)>,
        /// The line of an `@cert-authority` for it, which is not supported.
        authority: Option<usize>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

#[derive(Debug)]
struct Line {
    number: usize,
    marker: Marker,
    hosts: String,
    /// None: it can't be read.
    key: Option<Key>,
}

impl Line {
    /// A revocation whose host is an unreadable hash may mean any host.
    fn means(&self, name: &str) -> bool {
        if self.hosts.starts_with('|') {
            matches_hash(&self.hosts, name).unwrap_or(self.marker == Marker::Revoked)
        } else {
            matches_list(&self.hosts, name)
        }
    }
}

/// A parsed known_hosts.
#[derive(Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

impl KnownHosts {
    /// Any text is accepted; see the head of this file for what can't be understood.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let numbered = text.lines().enumerate();
        let lines = numbered.filter_map(|(index, line)| parse_line(index + 1, line));
        Self {
            lines: lines.collect(),
        }
    }

    /// A file that is not there knows nobody; one that can't be read is an error.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn read(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// What is known about this key of this host.
    ///
    /// As ssh does it: on another port than 22 only `[host]:port` can say "changed", but a key of the plain name is accepted.
    #[must_use]
    pub fn ask(&self, host: &str, port: u16, key: &Key) -> Answer {
        let exact = self.matching(&lookup_name(host, port));
        let plain = self.matching(&lookup_name(host, 22));
        let (mut all, mut seen) = (exact.clone(), plain.clone());
        all.append(&mut seen);
        if let Some(stop) = revocation(&all, key) {
            return stop;
        }
        if trusted(&all).any(|(_, known)| known == key) {
            return Answer::Same;
        }
        let changed = trusted(&exact).find(|(_, known)| known.algorithm == key.algorithm);
        if let Some((line, known)) = changed {
            let fingerprint = known.fingerprint();
            return Answer::Changed { fingerprint, line };
        }
        let authority = all.iter().find(|line| line.marker == Marker::Authority);
        Answer::Unknown {
            others: trusted(&exact)
                .map(|(line, known)| (known.algorithm.clone(), line))
                .collect(),
            authority: authority.map(|line| line.number),
        }
    }

    /// The types of the keys that are known for a host, so that it is asked for one of those first.
    #[must_use]
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<String> {
        let mut lines = self.matching(&lookup_name(host, port));
        if trusted(&lines).next().is_none() {
            lines = self.matching(&lookup_name(host, 22));
        }
        trusted(&lines)
            .map(|(_, key)| key.algorithm.clone())
            .collect()
    }

    fn matching(&self, name: &str) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.means(name)).collect()
    }
}

/// `host`, or `[host]:port` where the port is not 22.
#[must_use]
pub fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 {
        host
    } else {
        format!("[{host}]:{port}")
    }
}

/// The line that `trust` adds.
#[must_use]
pub fn line(host: &str, port: u16, key: &Key) -> String {
    let name = lookup_name(host, port);
    format!("{name} {} {}", key.algorithm, BASE64.encode(&key.blob))
}

/// Adds one line durably; every other line stays as it is. A new file is private, an existing one keeps its mode.
///
/// # Errors
/// Whatever the file system says.
pub fn append(path: &Path, line: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    let separator = if ends_without_newline(&mut file)? {
        "\n"
    } else {
        ""
    };
    // One write to a file opened for appending, so that two of us can't mix their lines.
    file.write_all(format!("{separator}{line}\n").as_bytes())?;
    file.sync_all()?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn ends_without_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn parse_line(number: usize, line: &str) -> Option<Line> {
    let mut words = line
        .split([' ', '\t', '\r'])
        .filter(|word| !word.is_empty())
        .peekable();
    let marker = match *words.peek()? {
        "@revoked" => Marker::Revoked,
        "@cert-authority" => Marker::Authority,
        word if word.starts_with(['#', '@']) => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        words.next();
    }
    let hosts = words.next().unwrap_or("*").to_owned();
    let key = match (words.next(), words.next()) {
        (Some(algorithm), Some(base64)) => Key::parse(algorithm, base64),
        _ => None,
    };
    Some(Line {
        number,
        marker,
        hosts,
        key,
    })
}

fn revocation(lines: &[&Line], presented: &Key) -> Option<Answer> {
    let revoked = lines.iter().filter(|line| line.marker == Marker::Revoked);
    revoked.into_iter().find_map(|line| match &line.key {
        None => Some(Answer::BrokenRevocation { line: line.number }),
        Some(key) if key == presented => Some(Answer::Revoked { line: line.number }),
        Some(_) => None,
    })
}

fn trusted<'a>(lines: &'a [&'a Line]) -> impl Iterator<Item = (usize, &'a Key)> {
    let plain = lines.iter().filter(|line| line.marker == Marker::None);
    plain.filter_map(|line| Some((line.number, line.key.as_ref()?)))
}

/// Patterns of which one must match, and no negated one may.
fn matches_list(hosts: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in hosts.to_ascii_lowercase().split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if matches_pattern(negated.as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= matches_pattern(pattern.as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// `|1|salt|hash`: HMAC-SHA1 of the name, keyed with the salt. None: it can't be read.
fn matches_hash(hosts: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hosts.strip_prefix("|1|")?.split_once('|')?;
    let salt = BASE64.decode(salt.as_bytes()).ok()?;
    let hash = BASE64.decode(hash.as_bytes()).ok()?;
    let mut mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    mac.update(name.as_bytes());
    Some(mac.verify_slice(&hash).is_ok())
}

/// `*` is any text and `?` any one character; brackets are plain characters here. Linear in memory, at worst quadratic in time.
fn matches_pattern(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests;
