//! Looks for the canaries in everything that a run leaves, and in `/proc` while it works.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine;

use crate::faults::world::files;
use crate::support::program::{Ran, Setup};
use crate::support::smtp::Smtp;

/// What all canaries have in common.
const CORE: &str = "CANARY";

/// What must not be found.
#[derive(Debug, Clone)]
pub struct Hunt {
    pub needles: Vec<Vec<u8>>,
}

impl Default for Hunt {
    fn default() -> Self {
        Self::for_words(&[CORE])
    }
}

impl Hunt {
    /// The canaries and the installation's own key.
    pub fn of(setup: &Setup) -> Self {
        let key = fs::read_to_string(setup.path("secret.key")).expect("the key");
        let key = key.lines().last().expect("a key").trim().to_owned();
        assert!(key.len() >= 43, "a Fernet key");
        Self::for_words(&[CORE, &key])
    }

    pub fn for_words(words: &[&str]) -> Self {
        let mut needles = Vec::new();
        for word in words {
            needles.push(word.as_bytes().to_vec());
            needles.push(hex(word).into_bytes());
            needles.extend(inside_base64(word));
        }
        Self { needles }
    }

    /// The needle that is in it.
    pub fn found_in(&self, hay: &[u8]) -> Option<String> {
        let found = self
            .needles
            .iter()
            .find(|needle| hay.windows(needle.len()).any(|window| window == **needle));
        found.map(|needle| String::from_utf8_lossy(needle).into_owned())
    }

    fn absent(&self, what: &str, hay: &[u8]) {
        if let Some(needle) = self.found_in(hay) {
            let text = String::from_utf8_lossy(hay);
            let at = text.find(&needle).unwrap_or(0);
            let from = text.floor_char_boundary(at.saturating_sub(200));
            let to = text.ceil_char_boundary((at + 200).min(text.len()));
            panic!("{needle} in {what}: …{}…", &text[from..to]);
        }
    }

    /// Output, every file of the installation but the configuration's own, and the mails.
    pub fn search(&self, ran: &Ran, setup: &Setup, smtp: &Smtp) {
        self.absent("stdout", ran.stdout.as_bytes());
        self.absent("stderr", ran.stderr.as_bytes());
        let own = ["secret.key", ".env", "config.toml"].map(|name| setup.path(name));
        let mut logs = 0;
        for file in files(&setup.path("")) {
            if own.contains(&file) {
                continue;
            }
            logs += usize::from(file.extension().is_some_and(|e| e == "log"));
            let content = fs::read(&file).expect("a file");
            self.absent(&file.display().to_string(), &content);
        }
        assert!(logs >= 2, "the log and the run's log were searched");
        for mail in smtp.mails() {
            self.absent("a mail", mail.data.as_bytes());
            self.absent("a mail, decoded", &decoded(&mail.data));
        }
    }

    /// Looks at the command lines and environments of `pid` and all that it starts.
    pub fn watch(&self, pid: u32) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let (hunt, end) = (self.clone(), Arc::clone(&over));
        let thread = thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !end.load(Ordering::Relaxed) {
                for process in family(pid) {
                    for file in ["cmdline", "environ"] {
                        // It may be gone, or not ours to read.
                        let content = fs::read(process.join(file)).unwrap_or_default();
                        hunt.absent(&process.join(file).display().to_string(), &content);
                    }
                    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
                    seen.insert(name.trim().to_owned());
                }
                thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Watch { over, thread }
    }
}

/// The names of the processes that were looked at come from [`Watch::finish`].
pub struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    pub fn finish(self) -> BTreeSet<String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing was found")
    }
}

/// Runs the program and hunts in everything.
pub fn hunted(setup: &Setup, arguments: &[&str], smtp: &Smtp) -> Ran {
    let hunt = Hunt::of(setup);
    let running = setup.start(arguments);
    let watch = hunt.watch(running.pid());
    let ran = running.finish();
    let seen = watch.finish();
    if ran.code == Some(0) {
        assert!(seen.contains("pg_restore"), "it was watched: {seen:?}");
    }
    hunt.search(&ran, setup, smtp);
    ran
}

/// `/proc/PID` of a process and its descendants.
fn family(pid: u32) -> Vec<PathBuf> {
    let mut members = vec![pid];
    let mut next = 0;
    while let Some(parent) = members.get(next).copied() {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            members.extend(
                children
                    .split_whitespace()
                    .filter_map(|c| c.parse::<u32>().ok()),
            );
        }
    }
    let members = members.into_iter();
    members
        .map(|pid| PathBuf::from(format!("/proc/{pid}")))
        .collect()
}

pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn hex(word: &str) -> String {
    word.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

/// What is in the base64 of any text that has `word` in it, at each of the three places where it may begin.
fn inside_base64(word: &str) -> Vec<Vec<u8>> {
    let all = (0..3).map(|before| {
        let text = [&vec![0; before], word.as_bytes()].concat();
        let code = base64(&text);
        // Digits that also hold bits of the neighbours are left out.
        let from = [0, 2, 3][before];
        let to = text.len() * 8 / 6;
        code.as_bytes()[from..to].to_vec()
    });
    all.collect()
}

/// The mail with every quoted-printable and base64 part made readable.
pub fn decoded(mail: &str) -> Vec<u8> {
    let mut plain = unquoted(mail);
    for part in mail.split("Content-Transfer-Encoding: base64\r\n").skip(1) {
        let body = part.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let body = body.split("\r\n--").next().unwrap_or_default();
        let text: String = body.split_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        plain.extend(bytes.expect("a part in base64"));
    }
    plain
}

fn unquoted(text: &str) -> Vec<u8> {
    let text = text.replace("=\r\n", "");
    let mut pieces = text.split('=');
    let mut plain = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let code = piece.get(..2).and_then(|c| u8::from_str_radix(c, 16).ok());
        if let Some(byte) = code {
            plain.push(byte);
            plain.extend(&piece.as_bytes()[2..]);
        } else {
            plain.push(b'=');
            plain.extend(piece.as_bytes());
        }
    }
    plain
}

/// With a soft line break in the middle, and then read again.
pub fn quoted_printable_of(word: &str) -> String {
    let at = word.find(CORE).expect("a canary") + 3;
    let broken = format!("{}=\r\n{}", &word[..at], &word[at..]);
    String::from_utf8(unquoted(&broken)).expect("text")
}
