//! What the real python-dotenv made of the same bytes, and what is judged here beyond it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What a file defines: name and value, None for a name without `=`.
type Defines = &'static [(&'static str, Option<&'static str>)];

/// Made by python-dotenv 1.2.2: the bytes written to a file, then `dotenv.dotenv_values(file)` with `OUTSIDE=o` as
/// the whole environment, the result sorted by name.
#[rustfmt::skip]
const AS_PYTHON_READS_IT: &[(&[u8], Defines)] = &[
    (b"", &[]),
    (b"\n \t\n", &[]),
    (b"# comment\n", &[]),
    (b"A=1", &[("A", Some("1"))]),
    (b"A=1\nB=2\n", &[("A", Some("1")), ("B", Some("2"))]),
    (b"A = 1 \n", &[("A", Some("1"))]),
    (b"\n\n  A=1", &[("A", Some("1"))]),
    (b"export A=1", &[("A", Some("1"))]),
    (b"export\tA=1", &[("A", Some("1"))]),
    (b"export=1", &[("export", Some("1"))]),
    (b"export A", &[("A", None)]),
    (b"export ", &[]),
    (b"export \nA=1", &[("A", Some("1"))]),
    (b"A", &[("A", None)]),
    (b"A\nB=1", &[("A", None), ("B", Some("1"))]),
    (b"A=", &[("A", Some(""))]),
    (b"A=\nB=1", &[("A", Some("")), ("B", Some("1"))]),
    (b"A= \nB=1", &[("A", Some("")), ("B", Some("1"))]),
    (b"=1\nB=2", &[("B", Some("2"))]),
    (b"A B=1\nC=2", &[("C", Some("2"))]),
    (b"A: 1\nB=2", &[("B", Some("2"))]),
    (b"'A'=1", &[("A", Some("1"))]),
    (b"'A B'=1", &[("A B", Some("1"))]),
    (b"'A=1\nB=2", &[("B", Some("2"))]),
    (b"''=1\nB=2", &[("B", Some("2"))]),
    (b"\"A\"=1", &[("\"A\"", Some("1"))]),
    (b"A=a=b==", &[("A", Some("a=b=="))]),
    (b"A==", &[("A", Some("="))]),
    (b"A=a#b", &[("A", Some("a#b"))]),
    (b"A=a #b", &[("A", Some("a"))]),
    (b"A=a\t# b # c", &[("A", Some("a"))]),
    (b"A= # c", &[("A", Some("# c"))]),
    (b"A=#c", &[("A", Some("#c"))]),
    (b"A#b=1\nB=2", &[("A", None), ("B", Some("2"))]),
    (b"A #b\nB=2", &[("A", None), ("B", Some("2"))]),
    (b"A='a b'", &[("A", Some("a b"))]),
    (b"A='a # b' # c", &[("A", Some("a # b"))]),
    (b"A='a'#c", &[("A", Some("a"))]),
    (b"A='a' b\nB=2", &[("B", Some("2"))]),
    (b"A='a\nb'\nB=2", &[("A", Some("a\nb")), ("B", Some("2"))]),
    (b"A='a\\'b'", &[("A", Some("a'b"))]),
    (b"A='a\\\\b'", &[("A", Some("a\\b"))]),
    (b"A='a\\nb'", &[("A", Some("a\\nb"))]),
    (b"A='a\\\\'\nB=2", &[("A", Some("a\\")), ("B", Some("2"))]),
    (b"A='a\\'\nB=2", &[("A", Some("a\\")), ("B", Some("2"))]),
    (b"A='a\\'b\\'c\nB=2", &[("B", Some("2"))]),
    (b"A='abc\nB=2", &[("B", Some("2"))]),
    (b"A=''", &[("A", Some(""))]),
    (b"A='a\\\"b'", &[("A", Some("a\\\"b"))]),
    (b"A=\"a b\"", &[("A", Some("a b"))]),
    (b"A=\"a\\nb\"", &[("A", Some("a\nb"))]),
    (b"A=\"\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"\"", &[("A", Some("\u{7}\u{8}\u{c}\n\r\t\u{b}\\'\""))]),
    (b"A=\"a\\qb\\x41\\u0041\"", &[("A", Some("a\\qb\\x41\\u0041"))]),
    (b"A=\"a\\\"b\"", &[("A", Some("a\"b"))]),
    (b"A=\"a\\\\\"\nB=2", &[("A", Some("a\\")), ("B", Some("2"))]),
    (b"A=\"a\\\"\nB=2", &[("A", Some("a\\")), ("B", Some("2"))]),
    (b"A=\"a\nb\" # c\nB=2", &[("A", Some("a\nb")), ("B", Some("2"))]),
    (b"A=\"abc\nB=2", &[("B", Some("2"))]),
    (b"A=\"\"", &[("A", Some(""))]),
    (b"A=\"a\"b\nB=2", &[("B", Some("2"))]),
    (b"A=\"it's\"", &[("A", Some("it's"))]),
    (b"A=a'b'", &[("A", Some("a'b'"))]),
    (b"A=a\"b\"", &[("A", Some("a\"b\""))]),
    (b"A=a\\nb", &[("A", Some("a\\nb"))]),
    (b"A=\\'a", &[("A", Some("\\'a"))]),
    (b"A=1\r\nB=2\r\n", &[("A", Some("1")), ("B", Some("2"))]),
    (b"A=1\rB=2\r", &[("A", Some("1")), ("B", Some("2"))]),
    (b"A='a\r\nb'\r\nB=2", &[("A", Some("a\nb")), ("B", Some("2"))]),
    (b"A=\r\nB=2", &[("A", Some("")), ("B", Some("2"))]),
    (b"A=1 \r\n", &[("A", Some("1"))]),
    (b"\xef\xbb\xbfA=1\nB=2", &[("B", Some("2")), ("\u{feff}A", Some("1"))]),
    (b"\xef\xbb\xbf# c\nB=2", &[("B", Some("2")), ("\u{feff}", None)]),
    (b"\xef\xbb\xbf\nB=2", &[("B", Some("2")), ("\u{feff}", None)]),
    (b"A=a\x00b\nB=2", &[("A", Some("a\u{0}b")), ("B", Some("2"))]),
    (b"\x00A=1\nB=2", &[("\u{0}A", Some("1")), ("B", Some("2"))]),
    (b"A\x00=1", &[("A\u{0}", Some("1"))]),
    (b"A=1\nA=2", &[("A", Some("2"))]),
    (b"A=1\nA", &[("A", None)]),
    (b"A\nA=1", &[("A", Some("1"))]),
    (b"A=1\nA=${A}2", &[("A", Some("12"))]),
    (b"A=\xc3\xa4\xe2\x82\xac", &[("A", Some("\u{e4}\u{20ac}"))]),
    (b"A=a\xc2\xa0#b", &[("A", Some("a"))]),
    (b"A=\xc2\xa0a\xc2\xa0", &[("A", Some("a"))]),
    (b"A=a\xe2\x80\xa8#b", &[("A", Some("a"))]),
    (b"A=a\xc2\x85b", &[("A", Some("a\u{85}b"))]),
    (b"A\xc2\xa0=1", &[("A", Some("1"))]),
    (b"A=a\x1c#b\x1d", &[("A", Some("a"))]),
    (b"A=a\x0b#b", &[("A", Some("a"))]),
    (b"A\x0c=1\x0c", &[("A", Some("1"))]),
    (b"A=1\nB=${A}", &[("A", Some("1")), ("B", Some("1"))]),
    (b"B=${A}\nA=1", &[("A", Some("1")), ("B", Some(""))]),
    (b"A=${OUTSIDE}", &[("A", Some("o"))]),
    (b"A=$OUTSIDE", &[("A", Some("$OUTSIDE"))]),
    (b"OUTSIDE=in\nA=${OUTSIDE}", &[("A", Some("in")), ("OUTSIDE", Some("in"))]),
    (b"A=${NONE}", &[("A", Some(""))]),
    (b"A=${NONE:-d}", &[("A", Some("d"))]),
    (b"A=${NONE:-}", &[("A", Some(""))]),
    (b"A=${OUTSIDE:-d}", &[("A", Some("o"))]),
    (b"A=\nB=${A:-d}", &[("A", Some("")), ("B", Some(""))]),
    (b"A\nB=x${A:-d}", &[("A", None), ("B", Some("x"))]),
    (b"A='${OUTSIDE}'", &[("A", Some("o"))]),
    (b"A=\"${OUTSIDE}\"", &[("A", Some("o"))]),
    (b"A=${OUTSIDE", &[("A", Some("${OUTSIDE"))]),
    (b"A=${OUTSIDE:x}", &[("A", Some("${OUTSIDE:x}"))]),
    (b"A=${OUTSIDE:-x", &[("A", Some("${OUTSIDE:-x"))]),
    (b"A=${${OUTSIDE}}", &[("A", Some("}"))]),
    (b"A=${:-d}", &[("A", Some("d"))]),
    (b"A=${}", &[("A", Some(""))]),
    (b"A=x${OUTSIDE}y$z${NONE:-a:b}$", &[("A", Some("xoy$za:b$"))]),
    (b"A='${NONE:-a\nb}'", &[("A", Some("a\nb"))]),
    (b"A=$${OUTSIDE}", &[("A", Some("$o"))]),
    (b"A=\\${OUTSIDE}", &[("A", Some("\\o"))]),
    (b"A=${NONE:-${OUTSIDE}}", &[("A", Some("${OUTSIDE}"))]),
    (b"A=1\nA=2\nB=${A}", &[("A", Some("2")), ("B", Some("2"))]),
    (b"KEY=gAAAAABn==", &[("KEY", Some("gAAAAABn=="))]),
    (b"KEY='gAAAAABn=='", &[("KEY", Some("gAAAAABn=="))]),
    (b"export KEY=\"gAAAAABn==\" # token", &[("KEY", Some("gAAAAABn=="))]),
];

fn outside(name: &str) -> Option<String> {
    (name == "OUTSIDE").then(|| "o".to_owned())
}

fn parse(bytes: &[u8]) -> EnvFile {
    EnvFile::parse(bytes, outside)
}

fn defines(file: &EnvFile) -> BTreeMap<&str, Option<&str>> {
    let value = |at: usize| match &file.statements[at].value {
        Value::Text(value) => Some(value.as_str()),
        _ => None,
    };
    file.latest
        .iter()
        .map(|(name, at)| (name.as_str(), value(*at)))
        .collect()
}

#[test]
fn every_file_defines_what_python_dotenv_reads_in_it() {
    for (bytes, expected) in AS_PYTHON_READS_IT {
        let file = parse(bytes);
        let expected: BTreeMap<_, _> = expected.iter().copied().collect();
        assert_eq!(defines(&file), expected, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_value_is_found_with_the_line_of_its_name() {
    let file = parse(b"# tokens\n\nOTHER='two\nlines'\nexport KEY = value # c\n");
    assert_eq!(file.find("KEY"), Ok(Some((5, "value"))));
    assert_eq!(file.find("MISSING"), Ok(None));
}

#[test]
fn a_name_without_a_value_is_not_set() {
    assert_eq!(parse(b"KEY\n").find("KEY"), Ok(None));
}

#[test]
fn a_duplicate_names_both_lines() {
    let fault = parse(b"KEY=1\nA=2\nKEY=1\n").find("KEY").map(drop);
    assert_eq!(
        fault,
        Err("is set more than once, on lines 1 and 3".to_owned())
    );
}

#[test]
fn a_broken_line_is_judged_for_its_own_name_alone() {
    for broken in [
        "KEY='abc",
        "KEY=\"a\" b",
        "'KEY=abc",
        "KEY : abc",
        "export KEY abc",
        "KEY abc",
    ] {
        let file = parse(format!("OTHER=1\n\n{broken}\n").as_bytes());
        let fault = file.find("KEY").expect_err(broken);
        assert!(fault.contains("line 3"), "{broken}: {fault}");
        assert_eq!(file.find("OTHER"), Ok(Some((1, "1"))), "{broken}");
    }
}

#[test]
fn a_broken_line_is_not_made_good_by_a_whole_one() {
    assert!(parse(b"KEY=1\nKEY='2\n").find("KEY").is_err());
}

#[test]
fn a_byte_order_mark_that_hides_the_name_is_named() {
    let fault = parse(b"\xef\xbb\xbfKEY=1\n").find("KEY").map(drop);
    assert!(fault.is_err_and(|text| text.contains("BOM")));
}

#[test]
fn bytes_that_are_no_utf8_matter_only_in_the_value_asked_for() {
    let file = parse(b"# caf\xe9\nOTHER=\xff\nKEY=1\n");
    assert_eq!(file.find("KEY"), Ok(Some((3, "1"))));
    let fault = file.find("OTHER").map(drop);
    assert_eq!(fault, Err("is not UTF-8 on line 2".to_owned()));
}

#[test]
fn values_that_double_with_every_line_are_stopped() {
    let lines = (1..64).map(|n| format!("A{n}=${{A{m}}}${{A{m}}}\n", m = n - 1));
    let text = format!("A0=0123456789\n{}KEY=1\n", lines.collect::<String>());
    let file = parse(text.as_bytes());
    for doubled in ["A20", "A63"] {
        let fault = file.find(doubled).map(drop);
        assert!(fault.is_err_and(|text| text.contains("4 MiB")), "{doubled}");
    }
    assert_eq!(file.find("KEY"), Ok(Some((65, "1"))));
}

#[test]
fn debug_output_shows_no_value() {
    assert!(!format!("{:?}", parse(b"KEY=canary")).contains("canary"));
}

proptest! {
    #[test]
    fn what_is_written_in_quotes_is_read_back(values in proptest::collection::vec("[^\u{fffd}\r]{0,20}", 1..4)) {
        // Single quotes know two escapes and are never expanded but for `${`.
        let usable = |value: &String| !value.contains("${") && !value.ends_with('\\');
        let values: Vec<String> = values.into_iter().filter(usable).collect();
        let line = |(n, value): (usize, &String)| {
            format!("export V{n} = '{}' # a comment\n", value.replace('\\', r"\\").replace('\'', r"\'"))
        };
        let text: String = values.iter().enumerate().map(line).collect();
        let file = EnvFile::parse(text.as_bytes(), |_| None);
        for (n, value) in values.iter().enumerate() {
            let found = file.find(&format!("V{n}")).expect("it can be read").map(|(_, value)| value);
            proptest::prop_assert_eq!(found, Some(value.as_str()), "{}", text);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = parse(&bytes).find("KEY");
    }

    #[test]
    fn no_likely_text_makes_it_panic(text in r#"([KEY='"\\#$\{\}:\- \n\r]|export ){0,40}"#) {
        let _ = parse(text.as_bytes()).find("KEY");
    }
}
