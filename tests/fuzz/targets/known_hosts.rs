#![no_main]
//! known_hosts: nobody is trusted whose key doesn't stand in the file, and nobody whose key is revoked for every host.

use backupctl::store::known_hosts::{Answer, Key, KnownHosts, line};
use libfuzzer_sys::fuzz_target;

const HOST: &str = "nas.example.org";

fn key(last: u8) -> Key {
    let algorithm = "ssh-ed25519";
    let mut blob = vec![0, 0, 0, 11];
    blob.extend(algorithm.as_bytes());
    blob.extend([0, 0, 0, 32]);
    blob.extend([last; 32]);
    Key {
        algorithm: algorithm.to_owned(),
        blob,
    }
}

fn base64(key: &Key) -> String {
    line(HOST, 22, key)
        .rsplit(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let known = KnownHosts::parse(&text);
    for (number, port) in [(1, 22), (2, 22), (1, 2222)] {
        let key = key(number);
        let encoded = base64(&key);
        let answer = known.ask(HOST, port, &key);
        // Never of any line but the key's own.
        if answer == Answer::Same {
            let stands = |line: &str| {
                line.contains(&encoded)
                    && line.contains(&key.algorithm)
                    && !line
                        .trim_start_matches(['\t', '\r', ' '])
                        .starts_with(['#', '@'])
            };
            assert!(text.lines().any(stands), "a key that is not there");
        }
        let revoked = format!("{text}\n@revoked * ssh-ed25519 {encoded}\n");
        let answer = KnownHosts::parse(&revoked).ask(HOST, port, &key);
        assert!(
            matches!(
                answer,
                Answer::Revoked { .. } | Answer::BrokenRevocation { .. }
            ),
            "{answer:?}"
        );
        let learnt = format!("{text}\n{}\n", line(HOST, port, &key));
        let answer = KnownHosts::parse(&learnt).ask(HOST, port, &key);
        let stops = matches!(
            answer,
            Answer::Revoked { .. } | Answer::BrokenRevocation { .. }
        );
        assert!(answer == Answer::Same || stops, "{answer:?}");
        assert!(known.algorithms(HOST, port).len() <= text.lines().count());
    }
});
