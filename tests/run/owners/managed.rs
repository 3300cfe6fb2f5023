//! A managed service: no superuser anywhere, only a role with CREATEDB and membership of the live database's owner.

use super::{Move, bare, judged, says, text, warnings};
use crate::support::program::Setup;

/// What the dump of production has and such a role can't create.
const SKIPPED: &str = "skip = [\"EVENT TRIGGER\", \"POLICY\", \"ROW SECURITY\"]";

struct Service {
    moved: Move,
    owner: String,
    user: String,
}

impl Service {
    /// `options` of the role that logs in: `CREATEDB`.
    fn new(options: &str) -> Self {
        let moved = Move::new();
        let owner = bare().role("owner", "LOGIN PASSWORD 'canary-o'");
        let user = bare().role("restorer", &format!("LOGIN PASSWORD 'canary-r' {options}"));
        bare().sql(
            "postgres",
            &format!(
                "grant {owner} to {user}; alter database {live} owner to {owner};
                 revoke connect on database {live} from public",
                live = moved.live
            ),
        );
        bare().sql(&moved.live, &format!("alter table t owner to {owner}"));
        Self { moved, owner, user }
    }

    fn with(&self, lines: &str) -> Setup {
        let toml = bare().toml("erp", &self.moved.live);
        Setup::new()
            .local(self.moved.store.path())
            .part(&toml.replace("user = \"postgres\"", &format!("user = \"{}\"", self.user)))
            .secret("DB_PASSWORD", "canary-r")
            .restore(lines)
            .write()
    }
}

#[test]
fn each_thing_that_only_a_superuser_can_do_is_named_with_its_remedy() {
    let service = Service::new("");
    let (moved, user) = (&service.moved, &service.user);
    let setup = service.with("missing_roles = \"create\"");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

    let hint = text(&report["hint"]);
    says(
        hint,
        &[
            &format!("ALTER ROLE \"{user}\" CREATEDB;"),
            &format!("ALTER ROLE \"{user}\" CREATEROLE;"),
            "skip = [\"EVENT TRIGGER\"]",
            "owner = \"target\"",
        ],
    );
    says(
        text(&report["message"]),
        &[
            &format!("schema `sales` can't be given to `{}`", moved.role("sales")),
            &format!(
                "objects in schema `public` can't be given to `{}`",
                moved.role("boss")
            ),
        ],
    );
    assert_eq!(moved.target.value(&moved.live, "select v from t"), "old");
}

#[test]
fn the_whole_nightly_refresh_passes() {
    // given: the application works as the owner of its database
    let service = Service::new("CREATEDB");
    let moved = &service.moved;
    let lines = format!(
        "owner = \"target\"\nprivileges = \"skip\"\n{SKIPPED}\n\n[[restores.erp.checks]]\nsql = \"select count(*) from users\"\nequals = 300\n"
    );
    let setup = service.with(&lines);

    // when: two nights
    for _ in 0..2 {
        setup.run(&["run", "--dry-run"]).expect(0);
        let report = judged(&setup, &setup.run(&["run", "--json"]), "done");
        assert_eq!(report["checks"][0]["ok"], true, "{report}");
        assert!(
            warnings(&report)
                .iter()
                .any(|told| told.contains("pg_signal_backend")),
            "{report}"
        );
    }

    // then
    moved.has_all_rows();
    for table in ["users", "sales.orders", "sales.totals"] {
        assert_eq!(moved.owner_of(table), service.owner, "{table}");
    }
    assert_eq!(
        bare()
            .databases_like(&format!("{}\\_before\\_%", moved.live))
            .len(),
        1
    );
    assert_eq!(
        bare()
            .databases_like(&format!("{}\\_new\\_%", moved.live))
            .len(),
        0
    );
    setup.run(&["undo", "--yes"]).expect(0);
    moved.has_all_rows();
}

#[test]
fn a_role_that_may_create_roles_makes_the_new_owner_and_all_others() {
    let service = Service::new("CREATEDB CREATEROLE");
    let moved = &service.moved;
    let keeper = moved.role("keeper");
    let lines = format!(
        "owner = \"role:{keeper}\"\nmissing_roles = \"create\"\nskip = [\"EVENT TRIGGER\"]"
    );
    let setup = service.with(&lines);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    moved.has_all_rows();
    let value = |sql: &str| moved.target.value(&moved.live, sql);
    assert_eq!(value("select count(*) from pg_policy"), "2");
    assert_eq!(moved.owner_of("users"), keeper);
    let may = format!(
        "select has_table_privilege('{}', 'users', 'INSERT')",
        moved.role("app")
    );
    assert_eq!(value(&may), "t", "grants are kept");
    let defaults = format!(
        "select count(*) from pg_default_acl where pg_get_userbyid(defaclrole) = '{}'",
        moved.role("boss")
    );
    assert_eq!(value(&defaults), "1", "default privileges are kept");
    let owner = format!(
        "select pg_get_userbyid(datdba) from pg_database where datname = '{}'",
        moved.live
    );
    assert_eq!(value(&owner), service.owner, "the database keeps its owner");
    says(
        &warnings(&report).join("\n"),
        &[&moved.role("auditor"), &keeper],
    );
}

#[test]
fn in_place_it_passes_too() {
    let service = Service::new("CREATEDB");
    let moved = &service.moved;
    let lines =
        format!("method = \"in-place\"\nowner = \"target\"\nprivileges = \"skip\"\n{SKIPPED}");
    let setup = service.with(&lines);

    for _ in 0..2 {
        judged(&setup, &setup.run(&["run", "--json"]), "done");
    }

    assert_eq!(
        moved
            .target
            .value(&moved.live, "select count(*) from users"),
        "300"
    );
    assert_eq!(moved.owner_of("sales.orders"), service.owner);
}
