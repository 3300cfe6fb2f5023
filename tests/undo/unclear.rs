//! An undo that nobody could be asked about: what the next run says of it.

use std::fs;

use super::command::refreshed;

#[test]
fn an_undo_that_ended_unclear_is_told_by_the_next_run_as_an_undo() {
    // given: as if nobody had answered after its COMMIT
    let shop = refreshed("");
    let oid = |name: &str| {
        let sql = format!("select oid from pg_database where datname = '{name}'");
        let oid = shop.server.value("postgres", &sql);
        oid.parse::<u32>().expect("an OID")
    };
    let (live_oid, scratch_oid) = (oid(&shop.live), oid(&shop.previous()[0]));
    let mut report = shop.run(&["undo", "--yes", "--json"]).expect(0).json();
    let run = report["run"].as_str().expect("an id").to_owned();
    let previous = report["database"]["previous"].clone();
    report["verdict"] = "unclear".into();
    report["steps"][1]["verdict"] = "unclear".into();
    let file = shop.setup.path(&format!("state/runs/{run}.json"));
    fs::write(file, report.to_string()).expect("the report");
    let journal = serde_json::json!({
        "run": run, "job": "erp", "command": "undo",
        "created": [{ "swap": {
            "database": "erp", "live_oid": live_oid, "scratch_oid": scratch_oid, "previous": previous,
        } }],
    });
    let directory = shop.setup.path("state/journal");
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join(format!("{run}.json")), journal.to_string()).expect("the journal");

    // when
    let next = shop.run(&["run", "--json"]).expect(7).json();

    // then
    let warnings = next["warnings"].to_string();
    for words in ["the undo of", "the previous database is live again"] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    assert_eq!(shop.row(), "old");
}
