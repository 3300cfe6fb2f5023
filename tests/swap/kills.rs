//! The swap's own connections are cut at any moment: live is old or new, and what is said agrees with the catalog.

use std::time::Duration;

use backupctl::database::swap::swap;
use backupctl::verdict::Verdict;

use super::Pair;

/// Ends the backends of this run that are in a transaction, or all of them.
async fn cut(pair: &Pair, after: Duration, all: bool) {
    tokio::time::sleep(after).await;
    let which = if all {
        ""
    } else {
        "and xact_start is not null"
    };
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = '{}' {which}",
        pair.login.application_name
    );
    pair.session_of_another()
        .await
        .first_text_rows(&sql, usize::MAX)
        .await
        .expect("somebody ends backends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_killed_at_any_moment_leaves_the_old_or_the_new_database_and_a_true_answer() {
    let (mut happened, mut not) = (0, 0);
    for round in 0..30_u64 {
        // given
        let pair = Pair::new();
        let order = pair.order();
        let after = Duration::from_millis(round * 4);

        // when
        let swapping = swap(&pair.login, &order, &pair.run);
        let (outcome, ()) = tokio::join!(swapping, cut(&pair, after, round % 2 == 0));

        // then
        if let Ok(swapped) = outcome {
            happened += 1;
            assert_eq!(pair.row(&pair.live), "new");
            assert_eq!(pair.oid(&swapped.previous), order.live.oid);
            assert_eq!(pair.oid(&pair.live), order.incoming.oid);
        } else if let Err(failed) = outcome {
            not += 1;
            let known = [Verdict::Failed, Verdict::Network, Verdict::Config];
            assert!(known.contains(&failed.verdict), "{failed:?}");
            pair.live_is_unchanged(&order);
        }
    }
    assert!(
        happened > 0 && not > 0,
        "{happened} happened, {not} did not"
    );
}
