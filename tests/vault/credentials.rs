//! `vault:ID` and `credentials = "vault:ID"` in the configuration.

use super::kept::add;
use crate::support::postgres::Postgres;
use crate::support::program::Setup;

fn with_database(login: &str) -> Setup {
    Setup::new()
        .part("[network]\nattempts = 1\n")
        .part("[stores.office.local]\npath = \"/\"\n")
        .part(&format!(
            "[databases.erp.postgres]\nhost = \"127.0.0.1\"\nport = 1\nname = \"erp\"\n{login}\n"
        ))
        .restore("")
        .write()
}

#[test]
fn user_and_password_out_of_the_vault_log_in() {
    let server = Postgres::shared();
    let role = server.role("kept", "login password 'out of the vault'");
    let live = server.database("kept");
    let own = format!(
        "user = \"postgres\"\npassword = \"env:{}\"",
        crate::support::postgres::PASSWORD_VARIABLE
    );
    let table = server
        .toml("erp", &live)
        .replace(&own, "credentials = \"vault:erp\"");
    assert!(table.contains("credentials"), "{table}");
    let setup = Setup::new()
        .local("/".as_ref())
        .part(&table)
        .restore("")
        .write();

    add(&setup, "erp", "out of the vault", &["--user", &role]).expect(0);
    let ran = setup.run(&["undo", "--dry-run"]);
    assert!([Some(3), Some(10)].contains(&ran.code), "{ran}");
    assert!(
        ran.stderr.contains("right") || ran.stderr.contains("no previous database"),
        "{ran}"
    );

    add(&setup, "erp", "another", &["--replace"]).expect(0);
    let wrong = setup.run(&["undo", "--dry-run"]);
    assert!(
        wrong.stderr.contains(&role) || wrong.stderr.contains("password"),
        "{wrong}"
    );
    assert!(
        !wrong.stderr.contains("no previous database") && !wrong.stderr.contains("right "),
        "{wrong}"
    );
}

#[test]
fn what_is_missing_in_the_vault_is_named_with_the_nearest_id_and_the_command() {
    let setup = with_database("credentials = \"vault:erp-bd\"");
    let none = setup.run(&["undo", "--dry-run"]).expect(3);
    assert!(
        none.stderr.contains("does not exist") && none.stderr.contains("vault add erp-bd"),
        "{none}"
    );

    add(&setup, "erp-db", "x", &[]).expect(0);
    let near = setup.run(&["undo", "--dry-run"]).expect(3);
    assert!(
        near.stderr.contains("did you mean `vault:erp-db`?"),
        "{near}"
    );
    assert!(
        near.stderr.contains("databases.erp.postgres.credentials"),
        "{near}"
    );

    add(&setup, "erp-bd", "x", &[]).expect(0);
    let no_user = setup.run(&["undo", "--dry-run"]).expect(3);
    assert!(
        no_user.stderr.contains("no user") && no_user.stderr.contains("--user USER --replace"),
        "{no_user}"
    );

    add(&setup, "erp-bd", "x", &["--user", "u", "--replace"]).expect(0);
    setup.run(&["undo", "--dry-run"]).expect(5);
}

#[test]
fn credentials_beside_a_user_or_password_and_unusable_ids_are_problems_of_the_configuration() {
    for (login, said) in [
        (
            "credentials = \"vault:erp\"\nuser = \"u\"",
            "user: stands beside `credentials`",
        ),
        (
            "credentials = \"vault:erp\"\npassword = \"env:X\"",
            "password: stands beside `credentials`",
        ),
        (
            "credentials = \"env:X\"",
            "credentials: names no secret of the vault",
        ),
        (
            "user = \"u\"\npassword = \"vault:../canary\"",
            "password: names no secret of the vault",
        ),
        ("password = \"vault:erp\"", "user: is missing"),
    ] {
        let ran = with_database(login).run(&["list"]).expect(3);
        assert!(
            ran.stderr.contains(said) && !ran.stderr.contains("canary"),
            "{login}: {ran}"
        );
        assert!(!ran.stderr.contains("2 problems"), "{ran}");
    }
}
