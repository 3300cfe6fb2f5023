//! What is put into the vault's file, shown, taken over and taken out again.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{chmod, mode};
use crate::support::program::{Ran, Setup};

pub fn add(setup: &Setup, id: &str, password: &str, more: &[&str]) -> Ran {
    let arguments = [&["-c", "config.toml", "vault", "add", id], more].concat();
    setup.program.run_with_stdin(&arguments, password)
}

pub fn password_of(setup: &Setup, id: &str) -> String {
    let ran = setup
        .run(&["vault", "get", id, "--show", "--json"])
        .expect(0);
    json_of(&ran)["password"]
        .as_str()
        .expect("a password")
        .to_owned()
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).expect("a JSON document")
}

#[test]
fn a_secret_goes_in_is_shown_on_demand_only_listed_and_taken_out() {
    let setup = Setup::new().write();
    let made = add(
        &setup,
        "erp-db",
        "canary-1\n",
        &["--user", "postgres", "--description", "the ERP"],
    )
    .expect(0);
    add(&setup, "a-mail", "canary-2", &[]).expect(0);

    let got = setup.run(&["vault", "get", "erp-db"]).expect(0);
    let shown = setup.run(&["vault", "get", "erp-db", "--show"]).expect(0);
    let listed = setup.run(&["vault", "list"]).expect(0);
    let document = json_of(&setup.run(&["vault", "list", "--json"]).expect(0));

    assert_eq!(mode(&setup.path("vault.fernet")), 0o600);
    let file = fs::read_to_string(setup.path("vault.fernet")).expect("the vault");
    assert!(file.starts_with("gAAAA") && !file.contains("canary"));
    for ran in [&made, &got, &listed] {
        assert!(!ran.to_string().contains("canary"), "{ran}");
    }
    assert!(
        got.stdout.contains("postgres") && got.stdout.contains("the ERP"),
        "{got}"
    );
    assert!(shown.stdout.contains("canary-1"), "{shown}");
    let ids: Vec<&str> = listed
        .stdout
        .lines()
        .skip(1)
        .filter_map(|l| l.split(' ').next())
        .collect();
    assert_eq!(ids, ["a-mail", "erp-db"]);
    assert_eq!(document["secrets"][1]["user"], "postgres");
    assert!(document["secrets"][1].get("password").is_none());

    setup.run(&["vault", "remove", "erp-db"]).expect(2);
    setup.run(&["vault", "remove", "erp-db", "-n"]).expect(0);
    assert_eq!(password_of(&setup, "erp-db"), "canary-1");
    setup.run(&["vault", "remove", "erp-db", "--yes"]).expect(0);
    let gone = setup.run(&["vault", "get", "erp-dp"]).expect(3);
    assert!(gone.stderr.contains("is not in"), "{gone}");
}

#[test]
fn what_is_there_is_overwritten_knowingly_only_and_keeps_what_is_not_given() {
    let setup = Setup::new().write();
    add(&setup, "erp", "first", &["--user", "u"]).expect(0);

    let refused = add(&setup, "erp", "second", &[]).expect(3);
    assert!(refused.stderr.contains("--replace"), "{refused}");
    assert_eq!(password_of(&setup, "erp"), "first");
    setup.run(&["vault", "generate", "erp"]).expect(3);
    add(&setup, "erp", "second", &["--replace"]).expect(0);

    let got = json_of(&setup.run(&["vault", "get", "erp", "--json"]).expect(0));
    assert_eq!(
        (password_of(&setup, "erp"), &got["user"]),
        ("second".to_owned(), &json!("u"))
    );
    add(&setup, "../erp", "x", &[]).expect(2);
    add(&setup, "empty", "\n", &[]).expect(2);
    add(&setup, "dry", "x", &["-n"]).expect(0);
    setup.run(&["vault", "get", "dry"]).expect(3);
}

#[test]
fn changes_at_the_same_time_all_last() {
    let setup = Setup::new().write();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let setup = &setup;
            scope.spawn(move || add(setup, &format!("id{number}"), "x", &[]).expect(0));
        }
    });
    let document = json_of(&setup.run(&["vault", "list", "--json"]).expect(0));
    assert_eq!(document["secrets"].as_array().map(Vec::len), Some(8));
}

#[test]
fn a_generated_password_is_strong_hidden_and_comes_with_what_to_change() {
    let setup = Setup::new()
        .part("[stores.office.local]\npath = \"/\"\n")
        .part("[databases.erp.postgres]\nhost = \"db.example.org\"\nuser = \"Erp\"\nname = \"erp\"\npassword = \"vault:erp\"\n")
        .restore("")
        .write();

    let made = setup.run(&["vault", "generate", "erp"]).expect(0);

    let password = password_of(&setup, "erp");
    assert_eq!(password.len(), 24);
    assert!(!made.to_string().contains(&password), "{made}");
    assert!(
        made.stdout.contains("ALTER ROLE \"Erp\" PASSWORD")
            && made.stdout.contains("db.example.org"),
        "{made}"
    );
    setup
        .run(&["vault", "generate", "short", "--length", "23"])
        .expect(2);
    let shown = setup
        .run(&["vault", "generate", "long", "--length", "40", "--show"])
        .expect(0);
    let long = password_of(&setup, "long");
    assert!(long.len() == 40 && shown.stdout.contains(&long), "{shown}");
    let info = json_of(&setup.run(&["vault", "info", "--json"]).expect(0));
    assert_eq!(
        info["used"],
        json!({ "erp": ["databases.erp.postgres.password"] })
    );
    assert_eq!(info["unused"], json!(["long"]));
}

#[test]
fn an_env_file_and_a_json_file_are_taken_over_wholly_or_not_at_all() {
    let setup = Setup::new().secret("DB_PASSWORD", "canary-db").write();
    let env = fs::read_to_string(setup.path(".env")).expect(".env");
    fs::write(setup.path("other.env"), env + "PGHOST=plain-value\n").expect("an env file");
    let connections = json!([
        { "id": "crm", "host": "crm.example.org", "user": "u", "password": "canary-crm" },
        { "id": "erp", "host": "erp.example.org", "user": "v", "password": "canary-erp" },
    ]);
    fs::write(setup.path("all.json"), connections.to_string()).expect("a JSON file");

    let dry = setup
        .run(&["vault", "import", "other.env", "--dry-run"])
        .expect(0);
    assert!(!setup.path("vault.fernet").exists());
    assert!(
        dry.stdout.contains("PGHOST") && dry.stdout.contains("left out"),
        "{dry}"
    );
    setup.run(&["vault", "import", "other.env"]).expect(0);
    assert_eq!(password_of(&setup, "DB_PASSWORD"), "canary-db");
    let again = setup.run(&["vault", "import", "other.env"]).expect(0);
    assert!(again.stdout.contains("unchanged"), "{again}");

    add(&setup, "erp", "mine", &[]).expect(0);
    for dry in [&["-n"][..], &[]] {
        let refused = setup
            .run(&[&["vault", "import", "all.json"], dry].concat())
            .expect(3);
        assert!(
            refused.stderr.contains("erp: conflict") && !refused.to_string().contains("canary"),
            "{refused}"
        );
    }
    setup.run(&["vault", "get", "crm"]).expect(3);
    setup
        .run(&["vault", "import", "all.json", "--replace"])
        .expect(0);
    assert_eq!(password_of(&setup, "erp"), "canary-erp");
    let crm = json_of(&setup.run(&["vault", "get", "crm", "--json"]).expect(0));
    assert_eq!(
        (&crm["user"], &crm["description"]),
        (&json!("u"), &json!("crm.example.org"))
    );
}

#[test]
fn a_file_with_faults_is_not_taken_over_and_nothing_of_it_is_told() {
    let setup = Setup::new().write();
    fs::write(
        setup.path("bad.json"),
        "[{\"id\": \"x\", \"password\": [\"canary\"]}]",
    )
    .expect("a file");
    let bad = setup.run(&["vault", "import", "bad.json"]).expect(3);
    assert!(
        bad.stderr.contains("line 1") && !bad.to_string().contains("canary"),
        "{bad}"
    );
    fs::write(
        setup.path("twice.json"),
        "[{\"id\":\"t\",\"password\":\"a\"},{\"id\":\"t\",\"password\":\"b\"}]",
    )
    .expect("a file");
    let twice = setup
        .run(&["vault", "import", "twice.json", "--replace"])
        .expect(3);
    assert!(twice.stderr.contains("more than once"), "{twice}");
}

#[test]
fn a_vault_that_is_tampered_with_open_to_others_or_of_another_key_is_refused_with_the_remedy() {
    let setup = Setup::new().write();
    add(&setup, "erp", "canary", &[]).expect(0);
    let path = setup.path("vault.fernet");
    let sound = fs::read_to_string(&path).expect("the vault");
    let mut flipped = sound.clone().into_bytes();
    flipped[60] = if flipped[60] == b'A' { b'B' } else { b'A' };

    for (content, said) in [
        (
            String::from_utf8(flipped).expect("text"),
            "not opened by any key",
        ),
        (sound[..50].to_owned(), "cut off or changed"),
        (String::new(), "cut off or changed"),
        ("{}".to_owned(), "no vault"),
    ] {
        fs::write(&path, &content).expect("the vault");
        for arguments in [
            &["vault", "list"][..],
            &["vault", "generate", "x"],
            &["vault", "rotate"],
        ] {
            let ran = setup.run(arguments).expect(3);
            assert!(
                ran.stderr.contains(said) && ran.stderr.contains("hint:"),
                "{ran}"
            );
        }
        assert_eq!(fs::read_to_string(&path).expect("the vault"), content);
    }
    fs::write(&path, &sound).expect("the vault");
    chmod(&path, 0o640);
    let open = setup.run(&["vault", "list"]).expect(3);
    assert!(
        open.stderr
            .contains(&format!("chmod 600 {}", path.display())),
        "{open}"
    );
    chmod(&path, 0o600);
    fs::remove_file(setup.path("secret.key")).expect("no key");
    setup
        .program
        .run(&["vault", "new-key", "secret.key"])
        .expect(0);
    let other = setup.run(&["vault", "get", "erp"]).expect(3);
    assert!(other.stderr.contains("not opened by any key"), "{other}");
}

fn python(setup: &Setup, script: &str) -> String {
    let output = Command::new("/usr/bin/python3")
        .args(["-I", "-c", script])
        .current_dir(setup.path("."))
        .output();
    let output = output.expect("python3");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn python_reads_the_vault_and_what_python_wrote_is_read() {
    let setup = Setup::new().write();
    add(&setup, "erp", "hörse \"battery\" \\ ", &["--user", "u"]).expect(0);
    let open = "import json\nfrom cryptography.fernet import Fernet\nf = Fernet(open('secret.key').read().strip())\n";

    let read = python(
        &setup,
        &format!("{open}print(f.decrypt(open('vault.fernet').read().strip().encode()).decode())"),
    );
    let read: Value = serde_json::from_str(&read).expect("JSON");
    assert_eq!(read["format"], 1);
    assert_eq!(read["secrets"]["erp"]["password"], "hörse \"battery\" \\ ");

    let write = |content: &str| {
        python(
            &setup,
            &format!("{open}open('vault.fernet', 'wb').write(f.encrypt('{content}'.encode()))"),
        );
    };
    let entry = "{\"password\": \"fröm python\", \"created\": \"2026-01-02T03:04:05+00:00\", \"changed\": \"2026-01-02T03:04:05Z\"}";
    write(&format!(
        "{{\"format\": 1, \"secrets\": {{\"py\": {entry}}}}}"
    ));
    assert_eq!(password_of(&setup, "py"), "fröm python");
    write(&format!(
        "{{\"format\": 2, \"secrets\": {{\"py\": {entry}}}, \"more\": 1}}"
    ));
    let newer = setup.run(&["vault", "list"]).expect(3);
    assert!(
        newer.stderr.contains("newer backupctl (format 2"),
        "{newer}"
    );
    write(&format!(
        "{{\"format\": 1, \"secrets\": {{\"py\": {entry}}}, \"canary\": 1}}"
    ));
    let unknown = setup.run(&["vault", "list"]).expect(3);
    assert!(
        unknown.stderr.contains("line 1") && !unknown.to_string().contains("canary"),
        "{unknown}"
    );
}
