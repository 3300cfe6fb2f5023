//! `command:…`: a secret that another program prints, such as a password manager.
//!
//! No shell runs it, nothing can be typed at it, and it has [`LIMIT`] to answer.

use std::ffi::OsString;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::escape::said;
use crate::process::{self, Command, Ended, Stream};

/// Long enough for a token server far away; nobody waits for a prompt that nobody sees.
pub const LIMIT: Duration = Duration::from_secs(30);

/// What such programs look for themselves by; everything else of our environment stays here.
const PASSED_ON: [&str; 8] = [
    "HOME",
    "USER",
    "LOGNAME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
];

const MOST_BYTES: usize = 64 << 10;

/// The program's standard output; the error says why there is none, without a word of it.
pub async fn output_of(
    words: &[String],
    environment: impl Fn(&str) -> Option<OsString>,
    limit: Duration,
) -> Result<Zeroizing<String>, String> {
    let command = Command::from_list(words).map_err(|failed| failed.message())?;
    let passed = PASSED_ON
        .iter()
        .filter_map(|name| Some((name, environment(name)?)));
    let command = passed.fold(command, |command, (name, value)| command.env(name, value));
    let mut output = Zeroizing::new(String::with_capacity(MOST_BYTES));
    let (mut complaint, mut is_too_long) = (None, false);
    let ended = process::run(&command, limit, |stream, line| match stream {
        // Lines are cut at some length: a secret that reaches it may not be whole.
        Stream::Stdout
            if output.len() + line.len() < MOST_BYTES && line.len() < process::LONGEST =>
        {
            output.push_str(line);
            output.push('\n');
        }
        Stream::Stdout => is_too_long = true,
        Stream::Stderr => {
            complaint = Some(said(line))
                .filter(|line| !line.is_empty())
                .or(complaint.take());
        }
    });
    match ended.await.map_err(|failed| failed.message())? {
        Ended::Exited(0) if is_too_long => Err("printed more than a secret can be".to_owned()),
        Ended::Exited(0) if output.contains(char::REPLACEMENT_CHARACTER) => {
            Err("printed something that is not UTF-8".to_owned())
        }
        Ended::Exited(0) => Ok(output),
        ended => Err(match complaint {
            Some(complaint) => format!("{ended}: {complaint}"),
            None => ended.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str) -> Result<Zeroizing<String>, String> {
        shell_within(script, LIMIT).await
    }

    async fn shell_within(script: &str, limit: Duration) -> Result<Zeroizing<String>, String> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        let environment = |name: &str| match name {
            "HOME" => Some("/home/of the operator".into()),
            "HOSTILE" => Some("1".into()),
            _ => None,
        };
        output_of(&words, environment, limit).await
    }

    #[tokio::test]
    async fn what_the_program_prints_is_taken_as_it_is() {
        let output = shell("echo ' p\"ss$wörd '").await.expect("an output");
        assert_eq!(*output, " p\"ss$wörd \n");
        let output = shell("printf 'no end'").await.expect("an output");
        assert_eq!(*output, "no end\n");
    }

    #[tokio::test]
    async fn its_environment_is_the_home_and_nothing_hostile() {
        let output = shell("echo \"$HOME|$HOSTILE|$LC_ALL\"").await;
        assert_eq!(*output.expect("an output"), "/home/of the operator||C\n");
    }

    #[tokio::test]
    async fn a_program_that_fails_says_why_without_what_it_printed() {
        let table = [
            (
                "echo canary; echo 'no such entry' >&2; exit 3",
                "exit code 3: no such entry",
            ),
            ("echo canary; exit 3", "exit code 3"),
            ("echo canary; kill -9 $$", "killed by signal 9"),
            (
                "printf 'canary\\377'",
                "printed something that is not UTF-8",
            ),
            (
                "echo canary; head -c 70000 /dev/zero | tr '\\0' x",
                "printed more than a secret can be",
            ),
        ];
        for (script, told) in table {
            let why = shell(script).await.expect_err(script);
            assert_eq!(why, told, "{script}");
        }
    }

    #[tokio::test]
    async fn a_program_that_waits_for_somebody_is_ended() {
        let limit = Duration::from_millis(300);
        let why = shell_within("echo canary; sleep 60", limit).await;
        assert_eq!(why.expect_err("no end"), "still at work after 300ms, ended");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let why = output_of(&["no-such-program".to_owned()], |_| None, LIMIT).await;
        let why = why.expect_err("no program");
        assert!(why.contains("run no-such-program: not found in "), "{why}");
    }
}
