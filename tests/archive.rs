//! The dump out of its archive: which entry is taken, and what comes out of it.

mod broken;
pub mod encrypted;
mod found;
mod made_by;
mod packed;

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use backupctl::archive::{Container, Inside, Limits, Problem, Wanted, inspect};
use backupctl::secret::Secret;
use backupctl::verdict::Verdict;

use crate::support::archives::{self, DUMP_MAGIC, Descriptor, Zip, dump};

const LIMITS: Limits = Limits {
    max_unpacked: 1 << 40,
};

fn is_dump(head: &[u8]) -> bool {
    head.starts_with(DUMP_MAGIC)
}

fn wanted_by(dump: Option<&str>, password: Option<&str>) -> Wanted {
    Wanted {
        dump: dump.map(ToOwned::to_owned),
        password: password.map(|password| Secret::new(password.to_owned())),
    }
}

fn look(archive: &[u8]) -> Result<Inside<Cursor<&[u8]>>, Problem> {
    look_for(archive, None)
}

fn look_for<'a>(
    archive: &'a [u8],
    wanted: Option<&str>,
) -> Result<Inside<Cursor<&'a [u8]>>, Problem> {
    inspect(
        Cursor::new(archive),
        archive.len() as u64,
        &wanted_by(wanted, None),
        &LIMITS,
        &is_dump,
    )
}

fn unpack<R: Read + Seek>(mut inside: Inside<R>) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    let mut told = 0;
    let written = inside.unpack(&mut out, |bytes| told += bytes, || false)?;
    assert_eq!((written, told), (out.len() as u64, out.len() as u64));
    Ok(out)
}

fn unpacked(archive: &[u8]) -> Result<Vec<u8>, Problem> {
    look(archive).and_then(unpack)
}

#[track_caller]
fn assert_damaged(archive: &[u8], says: &str) {
    match unpacked(archive) {
        Err(Problem::Damaged { message, .. }) => assert!(message.contains(says), "{message}"),
        other => panic!("expected damage ({says}), found {other:?}"),
    }
}

#[track_caller]
fn assert_config(result: Result<Vec<u8>, Problem>, says: &[&str]) {
    match result {
        Err(Problem::Config { message, hint }) => {
            let text = format!("{message}\n{hint}");
            assert!(says.iter().all(|part| text.contains(part)), "{text}");
        }
        other => panic!("expected a question of configuration ({says:?}), found {other:?}"),
    }
}

fn one_dump() -> Zip {
    archives::zip().entry("erp.dump", dump(2000))
}

#[test]
fn the_only_file_is_taken_and_unpacked_whole() {
    let archive = archives::zip()
        .folder("backup/")
        .entry("backup/erp.dump", dump(100_000))
        .build();

    let inside = look(&archive).expect("an archive in order");

    assert_eq!(inside.member().name, "backup/erp.dump");
    assert_eq!(inside.member().bytes, Some(100_000));
    assert_eq!(inside.container(), Container::Zip);
    assert_eq!(unpack(inside).expect("a whole dump"), dump(100_000));
}

#[test]
fn stored_entries_comments_zip64_and_every_form_of_data_descriptor_are_legal() {
    let forms = [
        one_dump().stored(),
        one_dump().comment("nightly, by cron"),
        one_dump().comment(vec![b'x'; 65_535]),
        one_dump().zip64(),
        one_dump().stored().zip64().comment("x"),
        one_dump().data_descriptor(),
        one_dump().descriptor(Descriptor::Bare),
        one_dump().descriptor(Descriptor::Wide).zip64(),
        one_dump().stored().descriptor(Descriptor::WideBare),
        one_dump().mode(0),
    ];
    for (number, form) in forms.iter().enumerate() {
        let bytes =
            unpacked(&form.build()).unwrap_or_else(|problem| panic!("form {number}: {problem}"));
        assert_eq!(bytes, dump(2000), "form {number}");
    }
}

#[test]
fn the_dump_is_known_among_others_by_its_first_bytes() {
    let archive = archives::zip()
        .entry("README.txt", "how to restore")
        .entry("data.bin", dump(5000))
        .entry("data.bin.sha256", "3f… data.bin")
        .build();

    let inside = look(&archive).expect("one dump");

    assert_eq!(inside.member().name, "data.bin");
    assert_eq!(unpack(inside).expect("a whole dump"), dump(5000));
}

#[test]
fn the_pattern_chooses_on_the_whole_name_or_its_last_part() {
    let archive = archives::zip()
        .entry("a/erp.dump", dump(10))
        .entry("b/crm.dump", dump(20))
        .build();

    for (pattern, chosen) in [
        ("crm.*", "b/crm.dump"),
        ("a/*", "a/erp.dump"),
        ("erp.dump", "a/erp.dump"),
    ] {
        let inside = look_for(&archive, Some(pattern)).expect("a match");
        assert_eq!(inside.member().name, chosen, "{pattern}");
    }
}

#[test]
fn a_pattern_that_matches_several_takes_the_dump_among_them_or_lists_only_those() {
    let made = archives::zip()
        .entry("erp.dump", dump(10))
        .entry("erp.dump.sha256", "3f… erp.dump")
        .entry("crm.bak", dump(20));
    let another = made.clone().entry("hr.dump", dump(30)).build();
    let made = made.build();

    for pattern in ["*.dump", "erp.*", "*.dump*"] {
        let inside = look_for(&made, Some(pattern)).expect("one dump");
        assert_eq!(inside.member().name, "erp.dump", "{pattern}");
    }
    let Err(Problem::Config { message, .. }) = look_for(&another, Some("*.dump")).map(drop) else {
        panic!("two dumps match");
    };
    assert!(
        message.contains("several") && message.contains("`hr.dump`"),
        "{message}"
    );
    assert!(!message.contains("crm.bak"), "{message}");
}

#[test]
fn several_dumps_none_and_no_match_ask_for_the_setting_and_list_what_is_there() {
    let several = archives::zip()
        .entry("erp.dump", dump(10))
        .entry("crm\n.dump", dump(20))
        .build();
    let none = archives::zip()
        .entry("a.txt", "a")
        .entry("b.txt", "b")
        .build();
    let nothing = archives::zip().build();

    assert_config(
        unpacked(&several),
        &[
            "several",
            "`erp.dump` (10 bytes)",
            r"`crm\n.dump`",
            "`dump = ",
        ],
    );
    assert_config(
        unpacked(&none),
        &["no file", "`a.txt`", "`b.txt`", "`dump = "],
    );
    assert_config(unpacked(&nothing), &["empty"]);
    assert_config(
        look_for(&several, Some("*.sql")).and_then(unpack),
        &["*.sql", "`erp.dump`"],
    );
    assert_config(
        look_for(&several, Some("{")).and_then(unpack),
        &["no pattern"],
    );
}

#[test]
fn a_dump_in_directory_format_is_its_table_of_contents_and_the_files_beside_it() {
    let mut archive = archives::zip().entry("README", "x");
    for number in 0..200 {
        archive = archive.entry(format!("erp/{number}.dat"), dump(number));
    }
    let archive = archive.entry("erp/toc.dat", dump(300)).build();

    let mut inside = look(&archive).expect("the table of contents");

    assert_eq!(inside.member().name, "erp/toc.dat");
    let beside = inside.beside();
    assert_eq!(beside.len(), 200);
    inside.turn_to(&beside[7].name).expect("a file beside it");
    assert_eq!(unpack(inside).expect("that file"), dump(7));
}

#[test]
fn too_many_files_to_look_into_ask_for_the_setting() {
    let archive = (0..100)
        .fold(archives::zip(), |zip, n| zip.entry(format!("{n}"), "x"))
        .build();

    assert_config(unpacked(&archive), &["too many", "`dump = ", "and 90 more"]);
}

#[test]
fn an_unknown_method_is_named_by_its_number() {
    assert_damaged(&one_dump().flags(1 << 5).build(), "patch");
    assert_damaged(&one_dump().method(93).build(), "method 93 (Zstandard)");
    assert_damaged(
        &one_dump().method(777).entry("README", "x").build(),
        "method 777",
    );
}

#[test]
fn a_dump_of_zeros_is_legal_and_max_unpacked_is_the_bound() {
    let zeros = [DUMP_MAGIC, &vec![0; 1_000_000]].concat();
    let archive = archives::zip().entry("erp.dump", &zeros).build();
    assert!(archive.len() < 10_000, "packed about 1000:1");
    let within = |max_unpacked| {
        let limits = Limits { max_unpacked };
        inspect(
            Cursor::new(&archive[..]),
            archive.len() as u64,
            &Wanted::default(),
            &limits,
            &is_dump,
        )
    };

    assert_eq!(
        within(zeros.len() as u64)
            .and_then(unpack)
            .expect("a whole dump"),
        zeros
    );
    let refused = within(zeros.len() as u64 - 1)
        .map(|_| ())
        .expect_err("too large");
    assert!(refused.to_string().contains("max_unpacked"), "{refused}");
    assert_eq!(
        refused.judged(Verdict::Stale, Verdict::Network).verdict,
        Verdict::Damaged
    );
}

#[test]
fn entries_beyond_four_gigabytes_are_found() {
    let mut file = tempfile::tempfile().expect("a sparse file");
    archives::zip()
        .zeros("blob", 5 << 30)
        .entry("erp.dump", dump(70_000))
        .zip64()
        .write_to(&mut file);
    let bytes = file.metadata().expect("its size").len();

    let mut inside = inspect(file, bytes, &Wanted::default(), &LIMITS, &is_dump).expect("one dump");

    assert_eq!(inside.member().name, "erp.dump");
    assert_eq!(inside.beside()[0].bytes, Some(5 << 30));
    inside.turn_to("blob").expect("the large one");
    let mut head = [1; 100];
    inside
        .open()
        .and_then(|mut plain| plain.read_exact(&mut head).map_err(Problem::from_reading))
        .expect("zeros");
    assert_eq!(head, [0; 100]);
    inside.turn_to("erp.dump").expect("the dump again");
    assert_eq!(unpack(inside).expect("a whole dump"), dump(70_000));
}

/// Counts reads, each a round trip to a store, and fails one of them.
struct Link<'a> {
    archive: Cursor<Vec<u8>>,
    reads: &'a Cell<usize>,
    cut_at: usize,
}

impl Read for Link<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() > self.cut_at {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.archive.read(buffer)
    }
}

impl Seek for Link<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.archive.seek(to)
    }
}

#[test]
fn a_remote_archive_is_inspected_and_its_dump_opened_in_two_reads() {
    let archive = archives::zip()
        .entry("erp.dump", dump(3_000_000))
        .comment("c")
        .build();
    let reads = Cell::new(0);
    let bytes = archive.len() as u64;
    let link = Link {
        archive: Cursor::new(archive),
        reads: &reads,
        cut_at: usize::MAX,
    };

    let mut inside =
        inspect(link, bytes, &Wanted::default(), &LIMITS, &is_dump).expect("an archive in order");
    let mut head = [0; 5];
    inside
        .open()
        .and_then(|mut plain| plain.read_exact(&mut head).map_err(Problem::from_reading))
        .expect("a head");

    assert_eq!(head, DUMP_MAGIC);
    assert_eq!(reads.get(), 2, "the tail, and the start of the entry");
}

#[test]
fn a_reader_that_fails_is_not_taken_for_damage() {
    let archive = archives::zip()
        .entry("erp.dump", dump(600_000))
        .entry("blob.bin", dump(300_000))
        .stored()
        .build();
    let reads = Cell::new(0);
    let bytes = archive.len() as u64;
    let attempt = |cut_at| {
        reads.set(0);
        let link = Link {
            archive: Cursor::new(archive.clone()),
            reads: &reads,
            cut_at,
        };
        inspect(
            link,
            bytes,
            &wanted_by(Some("erp.dump"), None),
            &LIMITS,
            &is_dump,
        )
        .and_then(unpack)
    };
    attempt(usize::MAX).expect("a whole dump");
    let needed = reads.get();
    assert!(needed > 3);

    for cut_at in 0..needed {
        let problem = attempt(cut_at).expect_err("a cut link");
        assert!(
            matches!(problem, Problem::Io(_)),
            "cut at {cut_at}: {problem:?}"
        );
        let failed = problem.judged(Verdict::Stale, Verdict::Network);
        assert_eq!(failed.verdict, Verdict::Network);
        assert!(
            failed.message().contains("connection reset"),
            "{}",
            failed.message()
        );
    }
}

#[test]
fn an_archive_that_is_shorter_than_announced_is_a_failing_reader() {
    let archive = one_dump().build();

    let result = inspect(
        Cursor::new(&archive[..]),
        archive.len() as u64 + 1,
        &Wanted::default(),
        &LIMITS,
        &is_dump,
    );

    assert!(matches!(result.map(|_| ()), Err(Problem::Io(_))));
}

#[test]
fn a_full_disk_and_the_word_to_stop_end_the_unpacking() {
    let archive = archives::zip().entry("erp.dump", dump(600_000)).build();
    let mut small = vec![0; 300_000];
    let mut full = &mut small[..];
    let asked = Cell::new(0);
    let stopped = || asked.replace(asked.get() + 1) == 1;
    let mut out = Vec::new();

    let full = look(&archive)
        .expect("in order")
        .unpack(&mut full, |_| {}, || false);
    let stop = look(&archive)
        .expect("in order")
        .unpack(&mut out, |_| {}, stopped);

    assert!(matches!(&full, Err(Problem::WriteFailed(_))), "{full:?}");
    assert!(matches!(stop, Err(Problem::Stopped)), "{stop:?}");
    assert!(out.len() < 600_000);
    let failed = full
        .expect_err("a full disk")
        .judged(Verdict::Stale, Verdict::Network);
    assert_eq!(failed.verdict, Verdict::Local);
}

#[test]
fn an_inspected_archive_can_be_handed_to_another_thread() {
    let archive = one_dump().build();
    let inside = inspect(
        Cursor::new(archive.clone()),
        archive.len() as u64,
        &Wanted::default(),
        &LIMITS,
        &is_dump,
    );

    let bytes = std::thread::spawn(move || inside.and_then(unpack)).join();

    assert_eq!(bytes.expect("no panic").expect("a whole dump"), dump(2000));
}

#[test]
fn a_missing_end_record_is_what_the_caller_says_it_is() {
    let archive = one_dump().build();
    let cut = || unpacked(&archive[..archive.len() - 1]).expect_err("a cut archive");

    assert_eq!(
        cut().judged(Verdict::Stale, Verdict::Network).verdict,
        Verdict::Stale
    );
    assert_eq!(
        cut().judged(Verdict::Damaged, Verdict::Local).verdict,
        Verdict::Damaged
    );
    assert!(matches!(unpacked(b""), Err(Problem::NoEndRecord(_))));
}
