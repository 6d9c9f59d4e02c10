//! What hosts answer, honest and not, and what the scripts do under this machine's own shell.

use std::process::{Command, Stdio};

use super::*;
use crate::ops::Layout;

fn record(head: &str, path: &str, target: &str) -> Vec<u8> {
    format!("{head}\0{path}\0{target}\0").into_bytes()
}

const FILE: &str = "f 644 33 33 12 1700000000.1234567890 1700000001.0000000000 77";

fn answer(records: &[Vec<u8>]) -> Vec<u8> {
    let root = b"R\0files/folders/srv/x\0/srv/x\0".to_vec();
    [root, records.concat(), b"E\0".to_vec()].concat()
}

#[test]
fn an_honest_list_is_read_in_the_order_of_trees() {
    let records = [
        record(FILE, "b.txt", ""),
        record("d 755 0 0 4096 1.0 1.0 3", "b", ""),
        record(FILE, "b/a\nb", ""),
        record("l 777 0 0 3 1.5 1.0 4", "b-link", "../b"),
        record("s 755 0 0 0 1.0 1.0 5", "socket", ""),
    ];
    let listing = read(&answer(&records)).unwrap();
    let paths: Vec<String> =
        listing.found.iter().map(|found| String::from_utf8_lossy(&found.path).into_owned()).collect();
    let below = |name: &str| format!("files/folders/srv/x/{name}");
    assert_eq!(paths, [below("b"), below("b/a\nb"), below("b-link"), below("b.txt")]);
    assert_eq!(listing.others, 1);
    assert_eq!(listing.found[1].mtime, 1_700_000_000_123_456_789);
    assert_eq!(listing.found[2].kind, Kind::Link(b"../b".to_vec()));
    assert_eq!(listing.found[1].source, b"/srv/x/b/a\nb");
}

#[test]
fn a_list_that_lies_is_refused() {
    for path in ["../etc/shadow", "/etc/shadow", "a/../../b", "a//b", "", ".", "a/."] {
        let error = read(&answer(&[record(FILE, path, "")])).unwrap_err();
        assert!(matches!(error, ListingError::Leaves(_)), "{path:?}: {error}");
    }
    let twice = answer(&[record(FILE, "a", ""), record(FILE, "a", "")]);
    assert!(matches!(read(&twice), Err(ListingError::Twice(_))));
    let below = answer(&[
        record("l 777 0 0 1 1.0 1.0 1", "a", "/etc"),
        record(FILE, "a.b", ""),
        record(FILE, "a/passwd", ""),
    ]);
    assert!(matches!(read(&below), Err(ListingError::Twice(_))));
    let whole = answer(&[record(FILE, "a", "")]);
    for cut in 0..whole.len() {
        assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(matches!(read(&[whole, b"more\0".to_vec()].concat()), Err(ListingError::Nonsense(_))));
    for head in [
        "f",
        "x 644 0 0 1 1.0 1.0 1",
        "f 99999 0 0 1 1.0 1.0 1",
        "f 644 0 0 -1 1.0 1.0 1",
        "f 644 0 0 1 x 1.0 1",
    ] {
        assert!(matches!(read(&answer(&[record(head, "a", "")])), Err(ListingError::Nonsense(_))), "{head}");
    }
}

#[test]
fn only_a_file_that_is_gone_is_no_fault() {
    let gone = b"tar: /srv/a: Cannot stat: No such file or directory\ntar: Exiting with failure status due to previous errors\n";
    assert!(only_vanished(gone));
    assert!(!only_vanished(b""));
    assert!(!only_vanished(
        b"tar: /srv/a: Read error at byte 0, while reading 512 bytes: Input/output error\n"
    ));
    assert!(!only_vanished(b"tar: /srv/a: Cannot open: Permission denied\n"));
}

#[test]
fn a_database_that_did_not_come_to_its_end_says_nothing() {
    let text = b"fleet-says {\"about\" : \"database\", \"server\" : \"15.8\", \"bytes\" : 7, \"tables\" : 2}
pg_dump: warning: something
fleet-says {\"about\" : \"rows\", \"table\" : \"public.a\", \"rows\" : 3, \"bytes\" : 8192}
fleet-says {\"about\":\"rows\",\"table\":
fleet-says {\"about\" : \"migration\", \"name\" : \"023_x.sql\"}
fleet-done\n";
    let facts = Facts::parse(text).unwrap();
    assert_eq!(
        (facts.server.as_str(), facts.tables, facts.migration.as_deref()),
        ("15.8", 2, Some("023_x.sql"))
    );
    assert_eq!(facts.rows, [Rows { table: "public.a".into(), rows: 3, bytes: 8192 }]);
    assert_eq!(Facts::parse(&text[..text.len() - 11]), None);
}

/// What a packed program said, and how the whole ended.
fn run(program: &str, path: &str) -> (Option<i32>, Vec<u8>) {
    let script = format!("set -eu\n{}", packed(program));
    let output =
        Command::new("sh").args(["-c", &script]).env("PATH", path).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), output.stdout)
}

#[test]
fn the_exit_of_the_program_is_the_exit_of_the_whole() {
    for (program, code) in [("sh -c 'echo x'", 0), ("sh -c 'echo x; exit 3'", 3), ("no-such-program", 127)] {
        let (exit, stdout) = run(program, "/usr/bin:/bin");
        assert_eq!(exit, Some(code), "{program}");
        assert!(stdout.starts_with(HEAD.as_bytes()), "{program}");
    }
}

#[test]
fn a_host_without_zstd_packs_with_gzip() {
    let tools = tempfile::tempdir().unwrap();
    for tool in ["sh", "gzip"] {
        std::os::unix::fs::symlink(format!("/bin/{tool}"), tools.path().join(tool)).unwrap();
    }
    let (exit, stdout) = run("sh -c 'echo hello'", tools.path().to_str().unwrap());
    assert_eq!(exit, Some(0));
    let packed = stdout.strip_prefix(b"fleet-stream gzip\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
    assert_eq!(text, "hello\n");
}

#[test]
fn every_script_parses() {
    let layout = Layout::new("demo");
    let folders = [
        Folder::Release,
        Folder::Volume("photos".into()),
        Folder::Path("it's".into()),
        Folder::Path("/srv/x".into()),
    ];
    let database = crate::ops::postgres::Database {
        stack: "demo".into(),
        service: "db".into(),
        user: "o'neil".into(),
        name: "na me".into(),
    };
    let outside = |image: Option<&str>| Outside {
        environment: vec![("PGHOST".into(), "h".into()), ("PGPASSWORD".into(), "p'w".into())],
        image: image.map(str::to_owned),
    };
    let listing = list(&layout, &folders);
    let texts = [
        String::from_utf8(listing.input().bytes().to_vec()).unwrap(),
        inside(&database).words()[2].clone(),
        String::from_utf8(roles(&database).input().bytes().to_vec()).unwrap(),
        super::outside(&outside(None)).words()[2].clone(),
        super::outside(&outside(Some("postgres:17"))).words()[2].clone(),
        read_files(Vec::new()).words()[2].clone(),
    ];
    for text in texts {
        let output = Command::new("sh").args(["-n", "-c", &text]).output().unwrap();
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("p'w"), "a password is no word of a command");
    }
}
