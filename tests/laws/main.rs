//! The house's laws, read from the code itself: which room may know which, who may print, how long
//! a file may grow. `design.md` says why; here is what.

mod faults;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use paths::Code;

/// Rooms that are tested as values: no files, no clock, no sockets, no randomness of their own.
const PURE: &[&str] = &[
    "check",
    "diagnostic",
    "doctor",
    "due",
    "event",
    "facts",
    "logs",
    "ops",
    "plan",
    "registry",
    "secret",
    "shell",
    "stack",
    "status",
    "toml_reader",
    "words",
];

/// What only rooms with effects may touch, by the beginning of its path.
const EFFECTS: &[&str] = &[
    "anyhow",
    "jiff::Timestamp::now",
    "openssh",
    "rand::random",
    "rand::rng",
    "russh",
    "rustix",
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "tempfile",
    "tokio",
    "walkdir",
];

/// A pure room may name exactly this of a room with effects: `(room, path, why)`.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("plan", "crate::ssh::Rsync", "a plain value that says what to push; the session performs it")];

/// Files that are longer than the limit and wait to be split. Only ever shorter.
const TO_SPLIT: &[&str] = &[];

const MOST_LINES: usize = 400;

struct File {
    /// Relative to the repository, with `/`.
    path: String,
    text: String,
    code: Code,
}

impl File {
    /// The top-level module that it belongs to; `None` for `lib.rs` and `main.rs`.
    fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let room = below.split(['/', '.']).next()?;
        (room != "lib" && room != "main").then_some(room)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    found
}

fn read(path: &Path) -> File {
    let text = fs::read_to_string(path).unwrap();
    let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let code = Code::read(&text, &paths::module_of(&name));
    File { path: name, text, code }
}

/// Every file of the library, without its tests.
fn sources() -> Vec<File> {
    let is_test = |path: &PathBuf| {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        stem == "tests"
            || stem.ends_with("_tests")
            || path.components().any(|part| part.as_os_str() == "tests")
    };
    rust_files("src").iter().filter(|path| !is_test(path)).map(|path| read(path)).collect()
}

/// Rooms that a room names, each with one place that does.
fn graph(files: &[File]) -> BTreeMap<&str, BTreeMap<String, String>> {
    let rooms: BTreeSet<&str> = files.iter().filter_map(File::room).collect();
    let mut graph: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for file in files {
        let Some(room) = file.room() else { continue };
        for path in &file.code.paths {
            let mut steps = path.split("::");
            let (Some("crate"), Some(other)) = (steps.next(), steps.next()) else { continue };
            if other != room && rooms.contains(other) {
                let place = format!("{} names {path}", file.path);
                graph.entry(room).or_default().entry(other.to_owned()).or_insert(place);
            }
        }
    }
    graph
}

fn starts(path: &str, with: &str) -> bool {
    path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn pure_rooms_have_no_effects() {
    let mut broken = String::new();
    for file in sources() {
        let Some(room) = file.room().filter(|room| PURE.contains(room)) else { continue };
        for path in &file.code.paths {
            if EFFECTS.iter().any(|effect| starts(path, effect)) {
                let _ = writeln!(broken, "{} names {path}", file.path);
            }
            let other = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next());
            let allowed = EXCEPTIONS.iter().any(|(who, what, _)| *who == room && starts(path, what));
            let known = root().join("src");
            let is_room =
                |name: &str| known.join(name).is_dir() || known.join(format!("{name}.rs")).is_file();
            if other.is_some_and(|other| is_room(other) && !PURE.contains(&other)) && !allowed {
                let _ = writeln!(broken, "{} names {path}, which is not pure", file.path);
            }
        }
    }
    assert!(broken.is_empty(), "pure rooms (see design.md) reach for effects:\n{broken}");
}

#[test]
fn the_exceptions_are_still_needed() {
    let files = sources();
    for (room, what, why) in EXCEPTIONS {
        let mut of_room = files.iter().filter(|file| file.room() == Some(room));
        assert!(
            of_room.any(|file| file.code.paths.iter().any(|path| starts(path, what))),
            "{room} names {what} no more ({why}): take the exception out"
        );
    }
}

#[test]
fn rooms_that_never_know_each_other() {
    let files = sources();
    let graph = graph(&files);
    // What is known to be there is seen: else the laws would hold for want of sight.
    for (one, other) in
        [("cli", "engine"), ("cli", "ui"), ("engine", "event"), ("plan", "stack"), ("stack", "registry")]
    {
        assert!(graph[one].contains_key(other), "{one} knows {other}, and this test does not see it");
    }
    let apart = [
        ("engine", "ui"),
        ("ui", "engine"),
        ("ui", "cli"),
        ("engine", "cli"),
        ("ssh", "engine"),
        ("vault", "ssh"),
    ];
    for (one, other) in apart {
        let place = graph.get(one).and_then(|known| known.get(other));
        assert_eq!(place, None, "{one} must not know {other}");
    }
    for (room, known) in &graph {
        assert!(
            *room == "cli" || !known.contains_key("cli"),
            "{room} must not know cli: {:?}",
            known.get("cli")
        );
    }
}

#[test]
fn data_flows_one_way() {
    let files = sources();
    let graph = graph(&files);
    // Rooms that know nobody who is left are taken away until none is left, or a circle is.
    let mut left: BTreeSet<&str> = graph.keys().copied().collect();
    loop {
        let knows = |room: &&str| graph[*room].keys().any(|other| left.contains(other.as_str()));
        let free: Vec<&str> = left.iter().filter(|room| !knows(room)).copied().collect();
        if free.is_empty() {
            break;
        }
        left.retain(|room| !free.contains(room));
    }
    let mut circle = String::new();
    for room in &left {
        for (other, place) in graph[room].iter().filter(|(other, _)| left.contains(other.as_str())) {
            let _ = writeln!(circle, "{room} -> {other}: {place}");
        }
    }
    assert!(circle.is_empty(), "rooms know each other in a circle:\n{circle}");
}

#[test]
fn only_ui_writes_to_a_stream() {
    let mut broken = String::new();
    for file in sources() {
        for name in ["print", "println", "eprint", "eprintln", "dbg"] {
            if file.code.macros.contains(name) {
                let _ = writeln!(broken, "{} uses {name}!", file.path);
            }
        }
        // rsync talks to this program through its streams when it serves as rsync's remote shell.
        let may = matches!(file.room(), Some("ui" | "ssh"));
        let streams = ["std::io::stdout", "std::io::stderr", "io::stdout", "io::stderr"];
        for path in
            file.code.paths.iter().filter(|path| !may && streams.iter().any(|stream| starts(path, stream)))
        {
            // Asking what a stream is, is no writing.
            if !file.text.contains(&format!("{path}().is_terminal()")) {
                let _ = writeln!(broken, "{} names {path}", file.path);
            }
        }
    }
    assert!(broken.is_empty(), "data goes out by ui::Out, the rest by ui::tell:\n{broken}");
}

#[test]
fn nothing_is_left_to_do() {
    for file in sources() {
        for name in ["todo", "unimplemented"] {
            assert!(!file.code.macros.contains(name), "{} has a {name}!", file.path);
        }
    }
}

#[test]
fn files_stay_short_and_say_their_rule() {
    let mut broken = String::new();
    for path in rust_files("src").iter().chain(&rust_files("tests")) {
        let file = read(path);
        let lines = file.text.lines().count();
        let waits = TO_SPLIT.contains(&file.path.as_str());
        if lines > MOST_LINES && !waits {
            let _ =
                writeln!(broken, "{} has {lines} lines, more than {MOST_LINES}: split it by idea", file.path);
        }
        if lines <= MOST_LINES && waits {
            let _ = writeln!(broken, "{} is short now: take it out of TO_SPLIT", file.path);
        }
        let is_test = file.path.ends_with("tests.rs");
        if !file.text.starts_with("//!") && !is_test {
            let _ = writeln!(broken, "{} does not begin with //! and the rule of its room", file.path);
        }
    }
    for path in TO_SPLIT.iter().filter(|path| !root().join(path).is_file()) {
        let _ = writeln!(broken, "{path} is no more: take it out of TO_SPLIT");
    }
    assert!(broken.is_empty(), "{broken}");
}
