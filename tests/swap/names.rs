//! Names that need quoting, or have no room for more.

use backupctl::database::swap::{drop_old_previous, previous_databases};

use super::Pair;

#[tokio::test(flavor = "multi_thread")]
async fn databases_with_any_name_are_swapped() {
    for name in [
        "Shop",
        "my shop",
        "the \"shop\"; drop database x; --",
        "l'été",
        "größe",
        "back\\slash $1 %s",
        &"n".repeat(63),
        &"ü".repeat(31),
    ] {
        let pair = Pair::named(name);

        let swapped = pair.swap().await.expect("swapped");

        assert_eq!(pair.row(name), "new", "{name}");
        assert_eq!(pair.row(&swapped.previous), "old", "{name}");
        assert!(swapped.previous.len() <= 63, "{name}");
        let session = pair.session().await;
        let kept = previous_databases(&session, name).await.expect("a list");
        assert_eq!(kept.len(), 1, "{name}");
        assert_eq!(kept[0].name, swapped.previous);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_names_that_begin_alike_are_kept_apart() {
    let [one, two] = ["a", "b"].map(|end| Pair::named(&format!("{}{end}", "l".repeat(50))));
    let ours = one.swap().await.expect("swapped").previous;
    let theirs = two.swap().await.expect("swapped").previous;

    let pruned = drop_old_previous(&one.login, &one.live, 0, &one.run)
        .await
        .expect("pruned");

    assert_eq!(pruned.dropped, [ours]);
    assert!(pruned.left_alone.is_empty(), "{pruned:?}");
    assert_eq!(two.row(&theirs), "old");
}
