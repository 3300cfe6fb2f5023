//! Reads `session = { … }` of a database: settings of the server for the sessions that load and analyze.
//!
//! Any setting that only makes the work faster or slower may be there, also an extension's. Refused is what the dump sets itself
//! and what would change what is restored or how we learn of it; whether a name and its value exist, the server says.

use super::section::Section;

/// PostgreSQL's NAMEDATALEN less one.
const LONGEST_NAME: usize = 63;

/// Names in lower case, and why they can't be set.
const REFUSED: [(&str, &[&str]); 6] = [
    (
        "the session's user and name are how this program recognises its own work",
        &["role", "session_authorization", "application_name"],
    ),
    (
        "it decides how the dump's text is read, which is the dump's to say",
        &[
            "array_nulls",
            "backslash_quote",
            "bytea_output",
            "check_function_bodies",
            "client_encoding",
            "datestyle",
            "default_table_access_method",
            "default_tablespace",
            "escape_string_warning",
            "extra_float_digits",
            "intervalstyle",
            "lo_compat_privileges",
            "quote_all_identifiers",
            "search_path",
            "standard_conforming_strings",
            "timezone",
            "timezone_abbreviations",
            "transform_null_equals",
            "xmlbinary",
            "xmloption",
        ],
    ),
    (
        "it would let broken or unchecked data pass",
        &[
            "allow_in_place_tablespaces",
            "allow_system_table_mods",
            "event_triggers",
            "ignore_checksum_failure",
            "ignore_invalid_pages",
            "ignore_system_indexes",
            "restrict_nonsystem_relation_kind",
            "row_security",
            "session_replication_role",
            "zero_damaged_pages",
        ],
    ),
    (
        "what the server says is read, and must come as it is",
        &["client_min_messages", "exit_on_error", "lc_messages"],
    ),
    (
        "the load's transactions are the restore's to choose",
        &[
            "default_transaction_deferrable",
            "default_transaction_isolation",
            "default_transaction_read_only",
            "transaction_deferrable",
            "transaction_isolation",
            "transaction_read_only",
        ],
    ),
    (
        "the job's `stall` ends what makes no progress, and nothing else does",
        &[
            "idle_in_transaction_session_timeout",
            "idle_session_timeout",
            "lock_timeout",
            "statement_timeout",
            "transaction_timeout",
        ],
    ),
];

/// Names and values, in the order of their names.
pub fn session(section: &mut Section<'_>) -> Vec<(String, String)> {
    let Some(settings) = section.section("session") else {
        return Vec::new();
    };
    let mut taken = Vec::new();
    for (name, value) in settings.scalars("a string, a number, true or false; an extension's setting goes in quotes, \"name.setting\"") {
        if let Some(problem) = wrong_name(&name).or_else(|| wrong_value(&value)) {
            settings.problem(&name, &problem);
        } else {
            taken.push((name, value));
        }
    }
    taken.sort();
    taken
}

fn wrong_name(name: &str) -> Option<String> {
    if !is_setting(name) {
        return Some(
            "is no name of a setting: letters, digits and `_`, with one dot in an extension's"
                .to_owned(),
        );
    }
    let lower = name.to_ascii_lowercase();
    let (why, _) = REFUSED
        .iter()
        .find(|(_, names)| names.contains(&lower.as_str()))?;
    Some(format!("can't be set here: {why}"))
}

/// `work_mem`, or an extension's `timescaledb.restoring`.
fn is_setting(name: &str) -> bool {
    let is_word = |word: &str| {
        (1..=LONGEST_NAME).contains(&word.len())
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
            && !word.starts_with(|c: char| c.is_ascii_digit() || c == '$')
    };
    name.split('.').count() <= 2 && name.split('.').all(is_word)
}

/// The server divides startup options at white space, by rules of its own locale for what is not ASCII.
fn wrong_value(value: &str) -> Option<String> {
    let plain = value.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    (!plain).then(|| "must be of printable ASCII characters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_the_result_is_refused_with_its_reason_however_it_is_written() {
        for (name, why) in [
            ("role", "recognises its own work"),
            ("Search_Path", "how the dump's text is read"),
            ("ZERO_DAMAGED_PAGES", "broken or unchecked data"),
            ("statement_timeout", "`stall`"),
            ("work-mem", "is no name"),
            ("a.b.c", "is no name"),
            ("1a", "is no name"),
            ("a.", "is no name"),
            ("", "is no name"),
        ] {
            let said = wrong_name(name).expect(name);
            assert!(said.contains(why), "{name}: {said}");
        }
        for name in [
            "maintenance_work_mem",
            "timescaledb.restoring",
            "_x",
            "WORK_MEM",
        ] {
            assert_eq!(wrong_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_refused_are_written_as_they_are_compared() {
        for name in REFUSED.iter().flat_map(|(_, names)| *names) {
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }

    #[test]
    fn values_are_printable() {
        assert_eq!(wrong_value(r#"a 'b' "c" \d"#), None);
        assert_eq!(wrong_value(""), None);
        for value in ["a\nb", "a\tb", "ä", "a\0", "a\u{85}"] {
            assert!(wrong_value(value).is_some(), "{value:?}");
        }
    }
}
