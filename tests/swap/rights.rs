//! A user who is no superuser: what is enough, and what is said where it is not.

use backupctl::database::connection::quote_identifier;
use backupctl::database::swap::{missing_rights, properties, swap};
use backupctl::verdict::Verdict;

use super::Pair;

/// The live database belongs to a role of its own, the scratch one to the user who restores.
struct Modest {
    pair: Pair,
    owner: String,
    user: String,
}

impl Modest {
    fn new(options: &str) -> Self {
        let mut pair = Pair::new();
        let owner = pair.server.role("owner", "");
        let user = pair
            .server
            .role("restorer", &format!("LOGIN PASSWORD 'x' {options}"));
        pair.admin(&format!(
            "alter database \"{}\" owner to \"{owner}\"; alter database \"{}\" owner to \"{user}\"",
            pair.live, pair.scratch
        ));
        pair.as_role(&user, "x");
        Self { pair, owner, user }
    }

    fn grant(&self, role: &str) {
        self.pair.admin(&format!(
            "grant {} to \"{}\"",
            quote_identifier(role),
            self.user
        ));
    }

    async fn missing(&self) -> Vec<String> {
        let session = self.pair.session().await;
        let oid = self.pair.oid(&self.pair.live);
        let found = properties(&session, oid).await.expect("properties");
        missing_rights(&session, &found).await.expect("asked")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn createdb_and_membership_of_the_owner_are_enough() {
    let modest = Modest::new("CREATEDB");
    modest.grant(&modest.owner);
    modest.grant("pg_signal_backend");
    let web = modest.pair.server.role("web", "LOGIN PASSWORD 'w'");
    let pair = &modest.pair;
    pair.admin(&format!(
        "grant connect on database \"{live}\" to \"{web}\";
         alter database \"{live}\" set work_mem = '3MB'; comment on database \"{live}\" is 'kept'",
        live = pair.live
    ));
    let open = as_role(pair, &web, "w").await;
    let order = pair.order();
    assert_eq!(modest.missing().await, Vec::<String>::new());

    let swapped = swap(&pair.login, &order, &pair.run).await.expect("swapped");

    assert_eq!(swapped.ended_sessions, 1);
    assert_eq!(swapped.differences, Vec::<String>::new());
    assert_eq!(pair.row(&pair.live), "new");
    drop(open);
}

async fn as_role(
    pair: &Pair,
    role: &str,
    password: &str,
) -> backupctl::database::connection::Session {
    let mut login = pair.login.clone();
    role.clone_into(&mut login.settings.user);
    login.password = Some(backupctl::secret::Secret::new(password.to_owned()));
    login.application_name = "web".into();
    backupctl::database::connection::connect(&login, &pair.live)
        .await
        .expect("a session")
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_a_role_are_carried_by_a_member_of_it_and_missed_without() {
    let modest = Modest::new("CREATEDB");
    modest.grant(&modest.owner);
    let pair = &modest.pair;
    let web = pair.server.role("web", "");
    pair.admin(&format!(
        "alter role \"{web}\" in database \"{}\" set work_mem = '5MB'",
        pair.live
    ));
    let order = pair.order();

    let missing = modest.missing().await;
    let failed = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("no right");

    let remedy = format!("GRANT \"{web}\" TO \"{}\"", modest.user);
    assert!(
        missing.len() == 1 && missing[0].contains(&remedy),
        "{missing:?}"
    );
    assert_eq!(failed.verdict, Verdict::Failed);
    assert!(failed.hint.is_some_and(|hint| hint.contains(&remedy)));
    pair.live_is_unchanged(&order);

    modest.grant(&web);
    assert_eq!(modest.missing().await, Vec::<String>::new());
    let swapped = swap(&pair.login, &order, &pair.run).await.expect("swapped");
    assert_eq!(swapped.differences, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_missing_right_is_named_with_its_remedy() {
    let modest = Modest::new("");
    let pair = &modest.pair;
    pair.admin(&format!(
        "alter database \"{live}\" set log_statement = 'ddl'; alter database \"{live}\" set app.motto = 'x'",
        live = pair.live
    ));

    let missing = modest.missing().await.join("\n");

    let (owner, user) = (&modest.owner, &modest.user);
    for remedy in [
        format!("ALTER ROLE \"{user}\" CREATEDB"),
        format!("GRANT \"{owner}\" TO \"{user}\""),
        format!("GRANT SET ON PARAMETER \"log_statement\" TO \"{user}\""),
        format!("GRANT SET ON PARAMETER \"app.motto\" TO \"{user}\""),
    ] {
        assert!(missing.contains(&remedy), "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privilege_that_another_role_granted_is_kept_and_its_new_grantor_told() {
    let modest = Modest::new("CREATEDB");
    modest.grant(&modest.owner);
    let pair = &modest.pair;
    let (boss, clerk) = (pair.server.role("boss", ""), pair.server.role("clerk", ""));
    pair.admin(&format!(
        "grant connect on database \"{live}\" to \"{boss}\" with grant option;
         set role \"{boss}\"; grant connect on database \"{live}\" to \"{clerk}\"",
        live = pair.live
    ));

    let swapped = pair.swap().await.expect("swapped");

    assert_eq!(swapped.differences, Vec::<String>::new());
    let told = pair.run.notes.lock().warnings.join("\n");
    assert!(told.contains(&clerk) && told.contains(&boss), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_not_be_ended_stops_the_swap_before_anybody_is_disconnected() {
    let modest = Modest::new("CREATEDB");
    modest.grant(&modest.owner);
    let pair = &modest.pair;
    let order = pair.order();
    let web = pair.server.role("web", "LOGIN PASSWORD 'w'");
    let open = as_role(pair, &web, "w").await;

    let stranger = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("a stranger's session");
    modest.grant("pg_signal_backend");
    let chief = pair.server.session(&pair.live, "select 1");
    let superior = swap(&pair.login, &order, &pair.run)
        .await
        .expect_err("a superuser's session");

    assert_eq!(stranger.verdict, Verdict::Failed);
    assert!(
        stranger.message().contains(&format!("pid {}", open.pid())),
        "{}",
        stranger.message()
    );
    let remedy = format!("GRANT pg_signal_backend TO \"{}\"", modest.user);
    assert!(stranger.hint.is_some_and(|hint| hint.contains(&remedy)));
    assert_eq!(superior.verdict, Verdict::Failed);
    assert!(superior.hint.is_some_and(|hint| hint.contains("superuser")));
    assert!(!open.is_closed());
    open.batch("select 1").await.expect("still connected");
    pair.live_is_unchanged(&order);
    drop(chief);
}
