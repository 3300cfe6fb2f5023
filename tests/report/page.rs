//! The page: what is on it, where it goes, and what a browser makes of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::browser::Browser;
use super::year::{self, DRILLS, RUNS};
use crate::support::program::Setup;

fn write(setup: &Setup) -> String {
    let ran = setup.run(&["report", "--since", "400d", "--html", "page.html"]);
    assert_eq!(ran.expect(0).stdout, "page.html\n");
    fs::read_to_string(setup.path("page.html")).expect("the page")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

/// Beside the page: the same in a frame as wide as a phone, with every list opened, and a script that says what sticks out.
fn probe(setup: &Setup, page: &str) -> std::path::PathBuf {
    let framed = page.replace('&', "&amp;").replace('"', "&quot;");
    let script = "const f=document.querySelector('iframe');f.onload=()=>{const d=f.contentDocument,w=d.documentElement.clientWidth,r=[];\
        d.querySelectorAll('details').forEach((x,i)=>{if(i<12)x.open=true});\
        const inside=e=>e.closest('svg')&&e.tagName!='svg';\
        d.querySelectorAll('body *').forEach(e=>{const b=e.getBoundingClientRect();if(!inside(e)&&b.width&&b.right>w+.5)r.push(e.outerHTML.slice(0,90)+' '+b.right)});\
        \
        document.querySelector('pre').textContent=JSON.stringify({room:w,width:d.documentElement.scrollWidth,out:r.slice(0,9),\
        details:d.querySelectorAll('details>div').length,plots:d.querySelectorAll('figure svg').length,\
        days:d.querySelectorAll('.cal a').length,titles:d.querySelectorAll('figure title').length,\
        unnamed:[...d.querySelectorAll('svg[role=img]')].filter(e=>!e.getAttribute('aria-label')).length,\
        ids:new Set([...d.querySelectorAll('[id]')].map(e=>e.id)).size==d.querySelectorAll('[id]').length,\
        dead:[...d.querySelectorAll('.cal a')].filter(e=>!d.getElementById(e.getAttribute('href').slice(1))).length})};";
    let probe = format!(
        "<!doctype html><pre hidden></pre><iframe style='border:0;width:360px;height:900px' srcdoc=\"{framed}\"></iframe><script>{script}</script>"
    );
    let path = setup.path("probe.html");
    fs::write(&path, probe).expect("the probe");
    path
}

fn probed(browser: &Browser, path: &Path) -> serde_json::Value {
    let document = browser.document(path);
    let found = document
        .split("<pre hidden=\"\">")
        .nth(1)
        .and_then(|rest| rest.split("</pre>").next());
    let found = found
        .expect("what was found")
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    serde_json::from_str(&found).unwrap_or_else(|error| panic!("{error}: {found}"))
}

#[test]
fn a_year_is_under_a_megabyte_and_looks_right_in_a_browser() {
    // given
    let setup = year::installation();
    let page = write(&setup);
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    let browser = Browser::new();
    let file = setup.path("page.html");

    // when
    let light = browser.picture(&file, ("light", 1200, 1900), false);
    let dark = browser.picture(&file, ("dark", 1200, 1900), true);
    let probe = probe(&setup, &page);
    browser.picture(&probe, ("phone", 500, 1000), false);
    let found = probed(&browser, &probe);

    // then: nothing was refused or went wrong, day is light and night dark
    assert_eq!(light.console(), Vec::<&str>::new());
    assert!(
        light.corner().iter().all(|channel| *channel > 230),
        "{:?}",
        light.corner()
    );
    assert!(
        dark.corner().iter().all(|channel| *channel < 40),
        "{:?}",
        dark.corner()
    );
    // and on a phone nothing sticks out
    assert_eq!(found["out"], json!([]), "{found}");
    assert_eq!(found["width"], found["room"], "{found}");
    // and everything is there, named and linked
    assert_eq!(found["details"], RUNS + DRILLS, "{found}");
    assert_eq!((&found["plots"], &found["unnamed"]), (&json!(5), &json!(0)));
    assert_eq!(
        (&found["days"], &found["dead"], &found["ids"]),
        (&json!(RUNS), &json!(0), &json!(true))
    );
    assert!(
        found["titles"].as_i64() > Some(i64::from(4 * RUNS)),
        "{found}"
    );
}

#[test]
fn what_a_browser_refuses_and_what_sticks_out_is_noticed() {
    let setup = year::setup();
    let page = write(&setup);
    let bad = format!(
        "<main style='color:red'><p><nobr>{}</nobr>",
        "wide ".repeat(200)
    );
    let bad = page.replace("<main>", &bad);
    fs::write(setup.path("bad.html"), &bad).expect("a page");
    let browser = Browser::new();

    let said = browser.picture(&setup.path("bad.html"), ("refused", 400, 300), false);
    let found = probed(&browser, &probe(&setup, &bad));

    let console = said.console().join("\n");
    assert!(console.contains("Content Security Policy"), "{}", said.said);
    assert_ne!(found["width"], found["room"], "{found}");
    assert_ne!(found["out"], json!([]), "{found}");
}

#[test]
fn nothing_from_outside_is_markup() {
    // given: every text that somebody else may have had a word in
    let setup = year::setup();
    let now = Timestamp::now();
    let evil = "</title></style><script>alert(1)</script><img src=x onerror='alert(2)'>\" onload=\"alert(3)\u{202e}\u{1b}[2J";
    let run = format!("{}-0001", now.strftime("%Y%m%d-%H%M%S"));
    for (number, command) in [(1, "run"), (2, "drill"), (3, evil)] {
        let run = format!("{}{number}", &run[..run.len() - 1]);
        let mut report = year::bones(command, &run, now);
        year::merge(
            &mut report,
            &json!({
                "host": evil, "version": evil, "message": evil, "hint": evil, "verdict": "failed", "chain": evil,
                "archive": { "name": evil, "bytes": 1, "modified": now, "sha256": evil },
                "dump": { "name": evil, "bytes": 1, "format": evil, "pg_dump_version": evil, "server_version": evil },
                "database": { "host": evil, "name": evil, "server_version": evil, "previous": evil },
                "steps": [{ "step": "fetch", "verdict": "done", "seconds": 1.0, "bytes": 1, "message": evil }],
                "checks": [{ "sql": evil, "expected": evil, "found": evil, "ok": false }],
                "tables": [{ "schema": evil, "name": evil, "rows": 1, "live_rows": 2, "in": "both" }],
                "lost": [{ "kind": evil, "count": 1, "names": [evil] }],
                "notified": [{ "to": evil, "ok": false, "message": evil }],
                "warnings": [evil],
                "drill": { "where": "server", "origin": null, "host_key": evil, "pg_restore": evil, "objects": { evil: 1 },
                    "time_to_restore_seconds": 1.0, "rows": 1, "tables": [{ "schema": evil, "name": evil, "rows": null }], "dropped": false },
            }),
        );
        year::put(&setup, &report);
    }

    // when: they have a head of a chain that is not there
    setup.run(&["report", "--html", "page.html"]).expect(10);

    // then
    let page = fs::read_to_string(setup.path("page.html")).expect("the page");
    assert!(
        page.matches("&lt;script&gt;").count() > 40,
        "they are shown"
    );
    for markup in [
        "<script",
        "<img",
        "<iframe",
        "onerror='",
        "onload=\"",
        "http://",
        "https://",
        "\u{202e}",
        "\u{1b}",
    ] {
        assert!(!page.contains(markup), "{markup}");
    }
    let ran = setup.run(&["report"]);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}']), "{ran}");
    let json = setup.run(&["report", "--json"]);
    assert!(!json.stdout.contains(['\u{1b}', '\u{202e}']), "{json}");
}

#[test]
fn a_drill_is_drawn_with_the_time_that_a_restore_would_take() {
    // given: what is counted and dropped afterwards took two hours
    let setup = year::setup();
    for (number, days) in [(1, 3), (2, 2)] {
        let started = Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
        let run = format!("{}-000{number}", started.strftime("%Y%m%d-%H%M%S"));
        let mut report = year::bones("drill", &run, started);
        year::merge(
            &mut report,
            &json!({
                "ended": started, "seconds": 7260.0, "verdict": "done",
                "drill": { "where": "local", "time_to_restore_seconds": 61.0 },
            }),
        );
        year::put(&setup, &report);
    }

    let page = write(&setup);

    let plot = page.split_once("Time to restore").expect("the plot").1;
    let plot = plot.split_once("</svg>").expect("its end").0;
    assert!(plot.contains("61 s") || plot.contains("1 min"), "{plot}");
    assert!(!plot.contains("2 h"), "{plot}");
}

#[test]
fn a_page_is_private_until_somebody_opens_it_to_others() {
    let setup = year::setup();
    let file = setup.path("page.html");
    write(&setup);
    assert_eq!(mode(&file), 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    write(&setup);
    assert_eq!(mode(&file), 0o644);
    // An empty file was put there to be filled.
    fs::write(&file, "").expect("emptied");
    write(&setup);
    let temporary = |name: &str| name.starts_with(".page");
    let names = fs::read_dir(file.parent().expect("a directory")).expect("listed");
    let names = names.map(|file| {
        file.expect("a file")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    assert_eq!(names.filter(|name| temporary(name)).count(), 0);
    let told = setup
        .run(&["report", "--html", "page.html", "--json"])
        .expect(0)
        .json();
    assert_eq!(told["path"], "page.html");
}

#[test]
fn nothing_but_a_page_is_written_over() {
    let setup = year::setup();
    let refused = |name: &str, code: i32, why: &str| {
        let ran = setup.run(&["report", "--html", name]).expect(code);
        assert!(ran.stderr.contains(why), "{ran}");
    };
    let notes = "notes\n";
    fs::write(setup.path("notes.txt"), notes).expect("a file");
    refused("notes.txt", 2, "is no page of backupctl");
    assert_eq!(
        fs::read_to_string(setup.path("notes.txt")).expect("kept"),
        notes
    );
    refused("config.toml", 2, "is no page of backupctl");
    symlink("notes.txt", setup.path("link.html")).expect("a link");
    refused("link.html", 2, "no regular file");
    refused("state", 2, "no regular file");
    refused("missing/page.html", 9, "write the page `missing/page.html`");
    // A dry run only looks.
    setup
        .run(&["report", "--html", "new.html", "--dry-run"])
        .expect(0);
    assert!(!setup.path("new.html").exists());
    setup
        .run(&["report", "--html", "notes.txt", "--dry-run"])
        .expect(2);
}
