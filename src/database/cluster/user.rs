//! As whom a private cluster runs where we are root.

use std::fs;

use crate::process::User;
use crate::verdict::{Failed, Judge, Outcome, Verdict};

/// Whoever owns the least comes first: a dump can run programs as this user, and `postgres` may own a server's data.
const NAMES: [&str; 2] = ["nobody", "postgres"];

/// None: as ourselves.
///
/// # Errors
/// `config`: we are root, and there is nobody else.
pub fn server_user() -> Outcome<Option<User>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").judge(Verdict::Config, "read /etc/passwd")?;
    let found = NAMES.iter().find_map(|name| of(&passwd, name));
    found.map(Some).ok_or_else(|| {
        Failed::new(
            Verdict::Config,
            "PostgreSQL refuses to run as root, and this machine has neither a user `nobody` nor `postgres`",
        )
        .hint("useradd --system nobody, or run backupctl as an ordinary user")
    })
}

/// `name:x:uid:gid:…`; never root by another name.
fn of(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(User { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name_and_is_never_root() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody2:x:7:7::/:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n";
        let (uid, gid) = (65534, 65533);
        assert_eq!(of(passwd, "nobody"), Some(User { uid, gid }));
        assert_eq!(of(passwd, "toor"), None);
        assert_eq!(of(passwd, "postgres"), None);
    }
}
