use super::*;
use crate::database::dump::{Format, Header, Traits};

pub fn entry(id: i64, kind: &str, tag: &str, depends_on: &[i64]) -> Entry {
    Entry {
        id,
        kind: kind.into(),
        namespace: "public".into(),
        tag: tag.into(),
        owner: "".into(),
        tablespace: "".into(),
        depends_on: depends_on.into(),
        names: Box::default(),
        traits: Traits::default(),
    }
}

pub fn toc(entries: Vec<Entry>) -> Toc {
    Toc {
        header: Header {
            archive_version: (1, 14),
            format: Format::Custom,
            compression: "gzip",
            database_name: "shop".into(),
            server_version: "12.2".into(),
            pg_dump_version: "12.2".into(),
        },
        count: entries.len() as u64,
        entries,
        large_objects: 0,
        files: Vec::new(),
        runs: Vec::new(),
        large_object_owners: BTreeSet::new(),
        large_object_grantees: BTreeSet::new(),
        access_methods: BTreeSet::new(),
        encoding: None,
        create_database: None,
        creates_public_schema: false,
    }
}

fn taken(toc: &Toc, table: &str) -> Vec<i64> {
    let name = TableName::parse(table).expect("a name");
    let part = part(toc, &[name], &HashSet::new()).expect("a part");
    let mut taken: Vec<i64> = part.taken.into_iter().collect();
    taken.sort_unstable();
    taken
}

#[test]
fn a_name_is_divided_at_the_dot_that_is_not_quoted() {
    let cases = [
        ("orders", None, "orders"),
        ("Orders", None, "Orders"),
        ("crm.orders", Some("crm"), "orders"),
        ("\"a.b\".\"c\"\"d\"", Some("a.b"), "c\"d"),
        ("a b", None, "a b"),
    ];
    for (text, schema, name) in cases {
        let parsed = TableName::parse(text).expect(text);
        assert_eq!((parsed.schema.as_deref(), &*parsed.name), (schema, name));
    }
    for text in [
        "", ".", "a.", ".a", "a.b.c", "\"a", "a\"b", "\"a\"b", "\"\"",
    ] {
        let failed = TableName::parse(text).expect_err(text);
        assert_eq!(failed.verdict, Verdict::Usage, "{text}");
    }
}

#[test]
fn partitions_that_attach_themselves_come_with_their_parent() {
    // as pg_dump wrote them before 14
    let toc = toc(vec![
        entry(1, "TABLE", "orders", &[]),
        entry(2, "TABLE", "orders_1", &[1]),
        entry(3, "TABLE", "base", &[]),
        entry(4, "TABLE", "derived", &[3]),
        entry(5, "TABLE DATA", "orders_1", &[2]),
        entry(6, "TABLE DATA", "base", &[3]),
        entry(7, "TABLE DATA", "derived", &[4]),
    ]);

    assert_eq!(taken(&toc, "orders"), [1, 2, 5]);
    assert_eq!(taken(&toc, "orders_1"), [1, 2, 5]);
    assert_eq!(taken(&toc, "base"), [3, 6]);
}

#[test]
fn a_check_of_a_domain_and_the_types_of_types_come_along() {
    let toc = toc(vec![
        entry(1, "TYPE", "inner", &[]),
        entry(2, "TYPE", "outer", &[1]),
        entry(3, "DOMAIN", "amount", &[]),
        entry(4, "TABLE", "t", &[2, 3]),
        entry(5, "CHECK CONSTRAINT", "amount positive", &[3]),
        entry(6, "ACL", "TYPE inner", &[1]),
        entry(7, "TYPE", "other", &[]),
        entry(8, "COMMENT", "TYPE other", &[7]),
    ]);

    assert_eq!(taken(&toc, "t"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn entries_that_need_each_other_end() {
    let toc = toc(vec![
        entry(1, "FUNCTION", "f()", &[2]),
        entry(2, "TYPE", "x", &[1]),
        entry(3, "TABLE", "t", &[2, 3]),
    ]);

    assert_eq!(taken(&toc, "t"), [1, 2, 3]);
}
