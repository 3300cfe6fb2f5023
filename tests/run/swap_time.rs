//! What stands in the way at the moment of the swap.

use serde_json::Value;

use super::{Scene, judged, says, text};
use crate::support::archives::zip;
use crate::support::program::Setup;

const IN_TIME: &str = "sessions_timeout = \"1s\"\n";

#[test]
fn sessions_of_others_are_left_alone_where_that_is_configured_and_the_swap_does_not_happen() {
    for sessions in ["fail", "wait"] {
        let scene = Scene::with_archive();
        let open = scene
            .server
            .session(&scene.live, "set application_name = 'the shop'");
        let setup = scene.with(&format!("sessions = \"{sessions}\"\n{IN_TIME}"));

        let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

        says(text(&report["message"]), &["the shop"]);
        let sessions = "select count(*) from pg_stat_activity where application_name = 'the shop'";
        assert_ne!(scene.server.value("postgres", sessions), "0");
        is_kept_for_later(&scene, &report);

        drop(open);
        judged(&setup, &setup.run(&["run", "--json"]), "done");
        scene.is_new();
    }
}

/// The live database is what it was, and what was loaded waits for `backupctl swap`.
fn is_kept_for_later(scene: &Scene, report: &Value) {
    assert_eq!(super::oid(scene.server, &scene.live), scene.oid);
    assert_eq!(scene.row(), "old");
    let kept = text(&report["database"]["scratch"]);
    assert_eq!(scene.beside(), [kept]);
    says(text(&report["hint"]), &[kept, "backupctl swap erp"]);
}

#[test]
fn sessions_of_others_are_ended_and_counted_by_default() {
    let scene = Scene::with_archive();
    let _one = scene.server.session(&scene.live, "begin; select * from t");
    let _two = scene.server.session(&scene.live, "select 1");
    let setup = scene.with("");

    let report = judged(&setup, &setup.run(&["run", "--json"]), "done");

    says(text(&report["steps"][5]["message"]), &["2 sessions ended"]);
    scene.is_new();
}

#[test]
fn a_prepared_transaction_keeps_the_swap_from_happening_and_is_named() {
    let scene = Scene::with_archive();
    let gid = format!("order of {}", scene.live);
    scene.server.sql(
        &scene.live,
        &format!("begin; insert into t values ('unsure'); prepare transaction '{gid}'"),
    );
    let setup = scene.with(IN_TIME);

    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");

    says(&report.to_string(), &[&gid]);
    scene
        .server
        .sql(&scene.live, &format!("rollback prepared '{gid}'"));
    is_kept_for_later(&scene, &report);
    judged(&setup, &setup.run(&["run", "--json"]), "done");
}

/// A role with just the rights that the manual asks for, and an archive of objects that it may own: role and owner.
fn ordinary_role(scene: &Scene) -> (String, String) {
    let (server, live) = (scene.server, &scene.live);
    let owner = server.role("owner", "");
    let role = server.role("restorer", "login createdb password 'canary-8812'");
    let new = super::NEW;
    let dump = super::dump_of(
        &format!(
            "{new}; alter table t owner to {owner}; alter table users owner to {owner};
             grant create on schema public to {owner}"
        ),
        &["-Fc"],
    );
    scene.put("erp.zip", &zip().entry("erp.dump", dump).build());
    server.sql(
        "postgres",
        &format!(
            "grant {owner} to {role}; grant pg_signal_backend to {role}; alter database {live} owner to {owner};
             alter database {live} set work_mem = '5MB'; comment on database {live} is 'ours';
             grant connect on database {live} to {role}"
        ),
    );
    (role, owner)
}

#[test]
fn an_ordinary_role_with_the_documented_rights_can_do_a_whole_run() {
    // given
    let scene = Scene::new();
    let (role, owner) = ordinary_role(&scene);
    let (server, live) = (scene.server, &scene.live);
    let table = server.toml("erp", live);
    let table = table.replace("user = \"postgres\"", &format!("user = \"{role}\""));
    let setup = Setup::new()
        .local(scene.store.path())
        .part(&table)
        .secret("DB_PASSWORD", "canary-8812")
        .restore("")
        .write();

    // when: a superuser's session, which an ordinary role may not end
    let open = server.session(live, "select 1");
    let report = judged(&setup, &setup.run(&["run", "--json"]), "failed");
    says(text(&report["message"]), &["postgres"]);
    is_kept_for_later(&scene, &report);
    drop(open);

    // then
    judged(&setup, &setup.run(&["run", "--json"]), "done");
    scene.is_new();
    let properties = format!(
        "select pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datacl::text like '%{role}=c/%'
         from pg_database where datname = '{live}'"
    );
    assert_eq!(
        server.value("postgres", &properties),
        format!("{owner}|ours|t")
    );
    assert_eq!(server.value(live, "show work_mem"), "5MB");
}
