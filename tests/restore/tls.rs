//! sslmode against a real server with a certificate of a self-made authority.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use backupctl::config::SslMode;
use backupctl::database::connection::{Login, Session, connect};
use backupctl::run::RunId;
use backupctl::verdict::{Outcome, Verdict};

use crate::support::archives;
use crate::support::postgres::Postgres;
use crate::support::program::Setup;

/// A server with TLS, and the files that belong to it.
struct Secured {
    pg: Postgres,
    /// The authority that signed the server's certificate for the name `localhost`, and a client's for `postgres`.
    authority: PathBuf,
    /// One that signed nothing.
    stranger: PathBuf,
    client_cert: PathBuf,
    client_key: PathBuf,
}

fn secured() -> &'static Secured {
    static SECURED: OnceLock<Secured> = OnceLock::new();
    SECURED.get_or_init(|| {
        let pg = Postgres::start_with(
            "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.crt'",
            |data| {
                authority(data, "ca");
                authority(data, "stranger");
                signed(data, "server", "/CN=localhost", "subjectAltName=DNS:localhost");
                signed(data, "client", "/CN=certified", "extendedKeyUsage=clientAuth");
                let rules = "hostssl all clearonly 127.0.0.1/32 reject\n\
                             hostnossl all certified 127.0.0.1/32 reject\n\
                             hostssl all certified 127.0.0.1/32 cert\n\
                             hostnossl all clearonly 127.0.0.1/32 trust\n\
                             host all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n";
                std::fs::write(data.join("pg_hba.conf"), rules).expect("the test's preparation works");
                as_the_servers_own(data);
            },
        );
        pg.sql("postgres", "create role certified login; create role clearonly login");
        let data = pg.directory.join("data");
        let copy = |name: &str| {
            let path = pg.directory.join(name);
            std::fs::copy(data.join(name), &path).expect("the test's preparation works");
            path
        };
        Secured {
            authority: copy("ca.crt"),
            stranger: copy("stranger.crt"),
            client_cert: copy("client.crt"),
            client_key: copy("client.key"),
            pg,
        }
    })
}

fn openssl(directory: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output();
    let output = output.expect("openssl runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn authority(directory: &Path, name: &str) {
    let (key, crt, subject) = (
        format!("{name}.key"),
        format!("{name}.crt"),
        format!("/CN={name}"),
    );
    openssl(
        directory,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &crt,
        ],
    );
}

fn signed(directory: &Path, name: &str, subject: &str, extension: &str) {
    let (key, crt, csr) = (
        format!("{name}.key"),
        format!("{name}.crt"),
        format!("{name}.csr"),
    );
    let ext = format!("{name}.ext");
    std::fs::write(directory.join(&ext), extension).expect("the test's preparation works");
    openssl(
        directory,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &csr,
        ],
    );
    openssl(
        directory,
        &[
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &ext,
            "-out",
            &crt,
        ],
    );
}

/// The server reads its key only where it is its own.
fn as_the_servers_own(data: &Path) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let owner = std::fs::metadata(data).expect("the test's preparation works");
    for name in ["server.key", "server.crt", "ca.crt"] {
        let path = data.join(name);
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("the test's preparation works");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))
            .expect("the test's preparation works");
    }
}

fn login(sslmode: SslMode, sslrootcert: Option<&Path>) -> Login {
    let mut login = secured()
        .pg
        .login("postgres", &RunId::new(jiff::Timestamp::now()));
    login.settings.host = "localhost".into();
    login.settings.sslmode = sslmode;
    login.settings.sslrootcert = sslrootcert.map(Path::to_owned);
    login
}

async fn encrypted(session: &Session) -> bool {
    let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    session
        .first_text_rows(sql, 2)
        .await
        .expect("the test's preparation works")
        == [[Some("t".to_owned())]]
}

async fn outcome(login: &Login) -> Outcome<bool> {
    Ok(encrypted(&connect(login, "postgres").await?).await)
}

#[tokio::test]
async fn each_sslmode_encrypts_or_not_as_libpq_does() {
    let authority = Some(secured().authority.as_path());
    for (sslmode, root, expected) in [
        (SslMode::Disable, None, false),
        (SslMode::Allow, None, false),
        (SslMode::Prefer, None, true),
        (SslMode::Require, None, true),
        (SslMode::Require, authority, true),
        (SslMode::VerifyCa, authority, true),
        (SslMode::VerifyFull, authority, true),
    ] {
        let found = outcome(&login(sslmode, root))
            .await
            .expect("the test's preparation works");
        assert_eq!(found, expected, "{sslmode:?}");
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused() {
    for sslmode in [SslMode::Require, SslMode::VerifyCa, SslMode::VerifyFull] {
        let failed = outcome(&login(sslmode, Some(&secured().stranger)))
            .await
            .unwrap_err();
        assert_eq!(failed.verdict, Verdict::Refused, "{}", failed.message());
        assert!(
            failed
                .hint
                .expect("the test's preparation works")
                .contains("sslrootcert")
        );
    }
}

#[tokio::test]
async fn another_name_is_refused_by_verify_full_and_no_matter_to_verify_ca() {
    let authority = &secured().authority;
    let mut login = login(SslMode::VerifyFull, Some(authority));
    login.settings.host = "127.0.0.1".into();
    let failed = outcome(&login).await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Refused, "{}", failed.message());
    login.settings.sslmode = SslMode::VerifyCa;
    assert!(outcome(&login).await.expect("the test's preparation works"));
}

#[tokio::test]
async fn the_servers_own_certificate_can_be_what_is_trusted() {
    // given a server whose certificate signed itself, as PostgreSQL's manual makes one
    let pg = Postgres::start_with(
        "ssl = on\nssl_cert_file = 'ca.crt'\nssl_key_file = 'server.key'",
        |data| {
            openssl(
                data,
                &[
                    "req",
                    "-x509",
                    "-newkey",
                    "rsa:2048",
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=localhost",
                    "-addext",
                    "subjectAltName=DNS:localhost",
                    "-keyout",
                    "server.key",
                    "-out",
                    "ca.crt",
                ],
            );
            std::fs::copy(data.join("ca.crt"), data.join("server.crt"))
                .expect("the test's preparation works");
            as_the_servers_own(data);
        },
    );
    let root = pg.directory.join("root.crt");
    std::fs::copy(pg.directory.join("data/ca.crt"), &root).expect("the test's preparation works");
    let mut login = pg.login("postgres", &RunId::new(jiff::Timestamp::now()));
    login.settings.sslrootcert = Some(root);
    login.settings.host = "localhost".into();
    for sslmode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        login.settings.sslmode = sslmode;
        assert!(
            outcome(&login).await.expect("the test's preparation works"),
            "{sslmode:?}"
        );
    }
    login.settings.host = "127.0.0.1".into();
    let failed = outcome(&login).await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Refused, "{}", failed.message());

    login.settings.sslrootcert = Some(secured().authority.clone());
    login.settings.sslmode = SslMode::VerifyCa;
    assert_eq!(outcome(&login).await.unwrap_err().verdict, Verdict::Refused);
}

#[tokio::test]
async fn verification_without_somebody_to_trust_is_config() {
    let failed = outcome(&login(SslMode::VerifyFull, None))
        .await
        .unwrap_err();
    assert_eq!(failed.verdict, Verdict::Config);
    assert!(
        failed
            .hint
            .expect("the test's preparation works")
            .contains("sslrootcert")
    );
    let missing = Path::new("/nonexistent/ca.crt");
    let failed = outcome(&login(SslMode::VerifyFull, Some(missing)))
        .await
        .unwrap_err();
    assert_eq!(failed.verdict, Verdict::Config);
    assert!(
        failed.message().contains("/nonexistent/ca.crt"),
        "{}",
        failed.message()
    );
}

#[tokio::test]
async fn a_server_without_tls_is_refused_by_require_and_taken_by_prefer() {
    let pg = Postgres::shared();
    let mut login = pg.login("postgres", &RunId::new(jiff::Timestamp::now()));
    login.settings.sslmode = SslMode::Require;
    let failed = outcome(&login).await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Refused, "{}", failed.message());
    login.settings.sslmode = SslMode::Prefer;
    assert!(!outcome(&login).await.expect("the test's preparation works"));
    // and a Unix socket has none to require
    login.settings.sslmode = SslMode::VerifyFull;
    login.settings.host = pg
        .socket_dir
        .to_str()
        .expect("the test's preparation works")
        .into();
    assert!(!outcome(&login).await.expect("the test's preparation works"));
}

#[tokio::test]
async fn prefer_and_allow_take_the_other_way_where_pg_hba_wants_it() {
    let mut login = login(SslMode::Prefer, None);
    login.settings.user = "clearonly".into();
    assert!(!outcome(&login).await.expect("the test's preparation works"));
    login.settings.user = "certified".into();
    login.settings.sslmode = SslMode::Allow;
    login.settings.sslcert = Some(secured().client_cert.clone());
    login.settings.sslkey = Some(secured().client_key.clone());
    login.password = None;
    assert!(outcome(&login).await.expect("the test's preparation works"));
}

#[tokio::test]
async fn a_client_certificate_logs_in_and_its_key_must_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let secured = secured();
    let mut login = login(SslMode::VerifyFull, Some(&secured.authority));
    login.settings.user = "certified".into();
    login.password = None;
    login.settings.sslcert = Some(secured.client_cert.clone());
    let failed = outcome(&login).await.unwrap_err();
    assert_eq!(
        failed.verdict,
        Verdict::Config,
        "a certificate without its key"
    );

    login.settings.sslkey = Some(secured.client_key.clone());
    assert!(outcome(&login).await.expect("the test's preparation works"));

    let open = secured.pg.directory.join("open.key");
    std::fs::copy(&secured.client_key, &open).expect("the test's preparation works");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644))
        .expect("the test's preparation works");
    login.settings.sslkey = Some(open);
    let failed = outcome(&login).await.unwrap_err();
    assert_eq!(failed.verdict, Verdict::Config);
    assert!(
        failed
            .hint
            .expect("the test's preparation works")
            .contains("chmod 0600")
    );
}

#[test]
fn a_whole_refresh_logs_in_with_a_certificate_and_no_password() {
    // given: a role that may make databases and owns the live one, and has no password
    let secured = secured();
    let pg = &secured.pg;
    pg.sql("postgres", "alter role certified createdb");
    let live = pg.database("certified");
    pg.sql(
        "postgres",
        &format!("alter database {live} owner to certified"),
    );
    pg.sql(
        &live,
        "create table t (v text); alter table t owner to certified; insert into t values ('new')",
    );
    let store = tempfile::tempdir().expect("a store");
    let zip = archives::zip().entry("erp.dump", pg.dump(&live, &["-Fc"]));
    std::fs::write(store.path().join("erp.zip"), zip.build()).expect("an archive");
    pg.sql(&live, "update t set v = 'old'");

    // when
    let database = format!(
        "[databases.erp.postgres]\nhost = \"localhost\"\nport = {}\nuser = \"certified\"\nname = \"{live}\"\n\
         sslmode = \"verify-full\"\nsslrootcert = \"{}\"\nsslcert = \"{}\"\nsslkey = \"{}\"\nbin_dir = \"{}\"\n",
        pg.port,
        secured.authority.display(),
        secured.client_cert.display(),
        secured.client_key.display(),
        pg.bin_dir.display()
    );
    let setup = Setup::new()
        .local(store.path())
        .part(&database)
        .restore("")
        .write();
    setup.run(&["run", "--json"]).expect(0);

    // then
    assert_eq!(pg.value(&live, "select v from t"), "new");
}
