//! A live database behind PgBouncer: the pooler is recognised where it is configured, and its clients see the new rows.

use super::{Scene, judged, says, text, until};
use crate::support::pgbouncer::PgBouncer;
use crate::support::program::Setup;

/// A whole installation whose database is configured with PgBouncer's port.
fn through(scene: &Scene, pooler: &PgBouncer) -> Setup {
    let direct = scene.server.toml("erp", &scene.live);
    let pooled = direct.replace(
        &format!("port = {}", scene.server.port),
        &format!("port = {}", pooler.port),
    );
    assert_ne!(direct, pooled);
    Setup::new()
        .local(scene.store.path())
        .part(&pooled)
        .secret("DB_PASSWORD", &scene.server.password)
        .restore("")
        .write()
}

#[test]
fn a_pooler_in_the_place_of_the_server_is_config_with_the_direct_address() {
    let scene = Scene::with_archive();
    let settings = [
        // It refuses our mark.
        "pool_mode = session",
        // It passes over our mark.
        "pool_mode = session\nignore_startup_parameters = options",
        "pool_mode = transaction\nignore_startup_parameters = options",
    ];
    for lines in settings {
        let pooler = PgBouncer::start(scene.server, lines);
        let setup = through(&scene, &pooler);

        let report = judged(&setup, &setup.run(&["run", "--json"]), "config");

        says(text(&report["message"]), &["PgBouncer"]);
        says(
            text(&report["hint"]),
            &[
                "`host` and `port`",
                &format!("127.0.0.1, port {}", scene.server.port),
            ],
        );
        scene.is_untouched();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_pooler_come_back_to_the_new_rows() {
    // given: clients in both modes that have read the old row
    let scene = Scene::with_archive();
    let setup = scene.with("");
    let by_session = PgBouncer::start(scene.server, "pool_mode = session");
    let by_transaction = PgBouncer::start(scene.server, "pool_mode = transaction");
    let bound = by_session.client(&scene.live).await;
    let free = by_transaction.client(&scene.live).await;
    for client in [&bound, &free] {
        assert_eq!(row(client).await.as_deref(), Some("old"));
    }

    // when
    judged(&setup, &setup.run(&["run", "--json"]), "done");

    // then: the one has lost its session with the server and takes a new one, the other did not notice
    until("the bound session has ended", || bound.is_closed());
    let again = by_session.client(&scene.live).await;
    comes_back(&again).await;
    comes_back(&free).await;
    scene.is_new();
}

/// The first statement may meet a server session that the pooler has not yet seen end.
async fn comes_back(client: &tokio_postgres::Client) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while row(client).await.as_deref() != Some("new") {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new row is not seen"
        );
        assert!(!client.is_closed(), "the client's session has ended");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn row(client: &tokio_postgres::Client) -> Option<String> {
    let messages = client.simple_query("select v from t").await.ok()?;
    messages.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}
