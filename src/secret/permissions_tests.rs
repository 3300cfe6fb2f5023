//! Modes, directories and links, on real files. Foreign owners need root: they are made where the tests run as root.

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

fn private_dir() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode is set");
}

fn file(dir: &Path, name: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, "content").expect("the file is written");
    chmod(&path, mode);
    path
}

fn only_problem(path: &Path) -> Problem {
    let mut problems = read_private(path).expect_err("it is refused");
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn a_private_file_is_read() {
    let dir = private_dir();
    for mode in [0o600, 0o400] {
        let path = file(dir.path(), &format!("{mode:o}"), mode);
        assert_eq!(
            read_private(&path).expect("it is private").as_slice(),
            b"content"
        );
    }
}

#[test]
fn a_file_open_to_others_in_any_way_is_refused_with_the_chmod() {
    let dir = private_dir();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644, 0o660] {
        let path = file(dir.path(), "key", mode);
        let problem = only_problem(&path);
        assert_eq!(
            problem.text,
            format!("`{}` is open to others (mode {mode:04o})", path.display())
        );
        assert_eq!(
            problem.remedy,
            Some(format!("chmod 600 {}", path.display()))
        );
        chmod(&path, 0o600);
        assert!(read_private(&path).is_ok());
    }
}

#[test]
fn a_symlink_is_judged_by_its_target() {
    let (dir, elsewhere) = (private_dir(), private_dir());
    let target = file(elsewhere.path(), "key", 0o644);
    let (link, link_to_link) = (dir.path().join("link"), dir.path().join("second"));
    symlink(&target, &link).expect("a symlink");
    symlink("link", &link_to_link).expect("a relative symlink");
    for link in [&link, &link_to_link] {
        let problem = only_problem(link);
        assert!(
            problem.text.contains(&target.display().to_string()),
            "{}",
            problem.text
        );
        assert_eq!(
            problem.remedy,
            Some(format!("chmod 600 {}", target.display()))
        );
    }
    chmod(&target, 0o600);
    assert!(read_private(&link_to_link).is_ok());
}

#[test]
fn a_directory_that_others_can_write_is_refused_with_the_chmod() {
    let dir = private_dir();
    let path = file(dir.path(), "key", 0o600);
    for mode in [0o777, 0o770, 0o722] {
        chmod(dir.path(), mode);
        let problem = only_problem(&path);
        assert!(
            problem.text.contains("others can write"),
            "{}",
            problem.text
        );
        assert_eq!(
            problem.remedy,
            Some(format!("chmod go-w {}", dir.path().display()))
        );
    }
}

#[test]
fn the_directory_of_a_symlink_counts_and_that_of_its_target() {
    let (dir, elsewhere) = (private_dir(), private_dir());
    let target = file(elsewhere.path(), "key", 0o600);
    let link = dir.path().join("link");
    symlink(&target, &link).expect("a symlink");
    for writable in [dir.path(), elsewhere.path()] {
        chmod(writable, 0o777);
        let remedy = only_problem(&link).remedy;
        assert_eq!(remedy, Some(format!("chmod go-w {}", writable.display())));
        chmod(writable, 0o700);
    }
    assert!(read_private(&link).is_ok());
}

#[test]
fn a_directory_with_the_sticky_bit_is_fine() {
    let dir = private_dir();
    let path = file(dir.path(), "key", 0o600);
    chmod(dir.path(), 0o1777);
    assert!(read_private(&path).is_ok());
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let dir = private_dir();
    let path = file(dir.path(), "key", 0o644);
    chmod(dir.path(), 0o777);
    assert_eq!(read_private(&path).expect_err("it is refused").len(), 2);
}

#[test]
fn missing_dangling_unreadable_and_irregular_files_are_told_apart() {
    let dir = private_dir();
    let path = file(dir.path(), "key", 0o600);
    symlink("nowhere", dir.path().join("dangling")).expect("a symlink");
    symlink("loop", dir.path().join("loop")).expect("a symlink to itself");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a FIFO");
    for (path, text) in [
        (dir.path().join("missing"), "does not exist"),
        (
            dir.path().join("dangling"),
            "is a symlink to a file that does not exist",
        ),
        (dir.path().join("loop"), "can't be read: "),
        (path.join("inside"), "can't be read: "),
        (dir.path().join("fifo"), "is no regular file"),
        (dir.path().to_owned(), "is no regular file"),
    ] {
        let problem = only_problem(&path);
        assert!(problem.text.contains(text), "{}", problem.text);
    }
}

#[test]
fn a_file_that_we_may_not_read_ourselves_gets_the_chmod() {
    let dir = private_dir();
    let path = file(dir.path(), "key", 0o000);
    if us() == ROOT {
        assert!(read_private(&path).is_ok(), "root may read anything");
    } else {
        let remedy = only_problem(&path).remedy;
        assert_eq!(remedy, Some(format!("chmod 600 {}", path.display())));
    }
}

#[test]
fn a_huge_file_is_not_read() {
    let dir = private_dir();
    let path = file(dir.path(), "key", 0o600);
    let sparse = File::options().write(true).open(&path).expect("the file");
    sparse.set_len(LARGEST + 1).expect("a sparse file");
    assert!(only_problem(&path).text.contains("larger than 1 MiB"));
}

#[test]
fn only_root_and_ourselves_are_trusted() {
    assert!(trusted(ROOT) && trusted(us()));
    assert!(!trusted(us() + 1));
}

#[test]
fn a_file_or_symlink_given_to_somebody_else_is_refused() {
    let dir = private_dir();
    let path = file(dir.path(), "key", 0o600);
    let link = dir.path().join("link");
    symlink(&path, &link).expect("a symlink");
    let given = std::os::unix::fs::lchown(&link, Some(4242), None).is_ok();
    assert_eq!(given, us() == ROOT, "only root can give files away");
    if given {
        assert!(
            only_problem(&link)
                .text
                .contains("is a symlink of another user (uid 4242)")
        );
        std::os::unix::fs::chown(&path, Some(4242), None).expect("given away");
        let problem = only_problem(&path);
        assert!(
            problem.text.contains("belongs to another user (uid 4242)"),
            "{}",
            problem.text
        );
        let name = path.display();
        assert_eq!(
            problem.remedy,
            Some(format!("chown 0 {name} && chmod 600 {name}"))
        );
    }
}
