//! What of a dump goes in, and to whom it will belong: the settings, and what is said about a wrong one.

use backupctl::config::{Contents, Owner};

use super::{GOOD, complaints, read};

#[test]
fn what_goes_in_and_to_whom_it_belongs_is_read() {
    let settings = "owner = \"role:Our App\"\nprivileges = \"skip\"\ntablespaces = \"default\"\nmissing_roles = \"create\"\n\
                    skip = [\"event trigger\", \"COMMENT EXTENSION\", \"ACL COLUMN\"]\n";

    let config = read(&format!("{GOOD}{settings}")).expect("good settings");

    let expected = Contents {
        owner: Owner::Role("Our App".into()),
        keeps_privileges: false,
        keeps_tablespaces: false,
        creates_roles: true,
        skip: ["EVENT TRIGGER", "COMMENT EXTENSION", "ACL COLUMN"]
            .map(str::to_owned)
            .into(),
    };
    assert_eq!(config.restores[0].contents, expected);
}

#[test]
fn a_wrong_word_is_named_with_the_known_or_the_nearest_one() {
    let table = [
        (
            "owner = \"role:\"",
            "owner: \"role:\" is unknown; known: keep, target, role:NAME",
        ),
        (
            "privileges = \"drop\"",
            "privileges: \"drop\" is unknown; known: keep, skip",
        ),
        (
            "tablespaces = \"skip\"",
            "tablespaces: \"skip\" is unknown; known: keep, default",
        ),
        (
            "missing_roles = \"make\"",
            "missing_roles: \"make\" is unknown; known: refuse, create",
        ),
        (
            "skip = [\"EVENT TRIGER\"]",
            "skip: \"EVENT TRIGER\" is no kind of a dump's contents that can be left out; did you mean \"EVENT TRIGGER\"?",
        ),
        (
            "skip = [\"COMMENT EXTENSIONS\"]",
            "skip: \"COMMENT EXTENSIONS\" is no kind of a dump's contents that can be left out; did you mean \"COMMENT EXTENSION\"?",
        ),
        (
            "skip = [\"everything\"]",
            "skip: \"everything\" is no kind of a dump's contents that can be left out; `pg_restore -l` of the dump names the kinds in it",
        ),
    ];
    for (setting, complaint) in table {
        let found = complaints(&format!("{GOOD}{setting}\n"));

        assert_eq!(found, [format!("line 17: restores.erp.{complaint}")]);
    }
}
