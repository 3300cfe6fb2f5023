//! What somebody most likely meant by a word that is unknown.

/// The known word that somebody most likely meant: at most a third of its letters differ.
pub fn nearest<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= candidate.len().max(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// What to do about a name that is none of `known`: the one that was meant, else all of them, introduced by what they are.
pub fn instead(word: &str, known: &[&str], what: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("the configuration has no {what}"),
        None => format!("{what}: {}", known.join(", ")),
    }
}

/// How many letters differ; two neighbours that changed places count once, as in `form` for `from`.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_is_understood() {
        let known = ["from", "into", "pattern", "keep_archives", "host"];
        for (typed, meant) in [
            ("form", "from"),
            ("inot", "into"),
            ("patern", "pattern"),
            ("keep_archive", "keep_archives"),
            ("hots", "host"),
        ] {
            assert_eq!(nearest(typed, known), Some(meant), "{typed}");
        }
    }

    #[test]
    fn another_word_is_not_guessed_at() {
        for typed in ["", "x", "retention", "post_swap"] {
            assert_eq!(nearest(typed, ["from", "into", "pattern"]), None, "{typed}");
        }
    }

    #[test]
    fn a_name_that_resembles_none_is_answered_with_all_of_them() {
        assert_eq!(
            instead("epr", &["erp", "crm"], "jobs"),
            "did you mean `erp`?"
        );
        assert_eq!(instead("shop", &["erp", "crm"], "jobs"), "jobs: erp, crm");
        assert_eq!(
            instead("shop", &[], "jobs"),
            "the configuration has no jobs"
        );
    }

    proptest::proptest! {
        #[test]
        fn a_distance_is_one(a in "[abc]{0,6}", b in "[abc]{0,6}") {
            let there = distance(&a, &b);
            proptest::prop_assert_eq!(there, distance(&b, &a));
            proptest::prop_assert_eq!(there == 0, a == b);
            proptest::prop_assert!(there <= a.len().max(b.len()));
        }

        #[test]
        fn a_known_word_is_its_own_nearest(known in proptest::collection::vec("[a-z_]{1,8}", 1..6)) {
            for word in &known {
                let found = nearest(word, known.iter().map(String::as_str));
                proptest::prop_assert_eq!(found, Some(word.as_str()));
            }
        }
    }
}
