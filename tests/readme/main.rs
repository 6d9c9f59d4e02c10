//! README.md, CHANGELOG.md and docs/ say what is true: their registries and stacks are read by the program
//! itself, their command lines by its own parser, and what they link to is there.
//!
//! A block of TOML begins with a comment that names its file: `# clients.toml`, `# stacks/NAME/stack.toml`, or
//! the latter with `(a part)` behind it. Blocks of one document that name files of one `stacks/NAME/` are one folder.

mod shell;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fleet::registry::Registry;
use fleet::stack_source::load_stack;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Document {
    /// Relative to the top of the repository.
    name: String,
    text: String,
}

struct Block {
    place: String,
    language: String,
    text: String,
}

impl Block {
    /// The file that the first line names, and whether it is only a part of it.
    fn file(&self) -> Option<(&str, bool)> {
        let first = self.text.lines().next()?.strip_prefix("# ")?;
        match first.strip_suffix(" (a part)") {
            Some(file) => Some((file, true)),
            None => Some((first, false)),
        }
    }
}

fn documents() -> Vec<Document> {
    let mut names = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).expect("docs/") {
        let name = entry.expect("an entry of docs/").file_name().into_string().expect("a plain name");
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    let read = |name: String| Document {
        text: fs::read_to_string(root().join(&name)).unwrap_or_else(|error| panic!("{name}: {error}")),
        name,
    };
    names.into_iter().map(read).collect()
}

impl Document {
    fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open = false;
        for (number, line) in self.text.lines().enumerate() {
            match line.strip_prefix("```") {
                Some(_) if open => open = false,
                Some(language) => {
                    open = true;
                    let place = format!("{}:{}", self.name, number + 1);
                    blocks.push(Block { place, language: language.to_owned(), text: String::new() });
                }
                None if open => {
                    let block = blocks.last_mut().expect("one is open");
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                None => {}
            }
        }
        assert!(!open, "{}: a block is not closed", self.name);
        blocks
    }

    /// Text outside of blocks.
    fn prose(&self) -> String {
        self.text.split("```").step_by(2).collect()
    }
}

fn blocks(language: &str) -> Vec<Block> {
    let all = documents().into_iter().flat_map(|document| document.blocks());
    let found: Vec<_> = all.filter(|block| block.language == language).collect();
    assert!(!found.is_empty(), "no block of {language} at all: the search finds nothing");
    found
}

#[test]
fn each_block_says_what_it_is() {
    for document in documents() {
        for block in document.blocks() {
            let known = ["toml", "sh", "console", "yaml", "jinja", "json", "nginx"];
            assert!(known.contains(&block.language.as_str()), "{}: `{}`", block.place, block.language);
        }
    }
    for block in blocks("toml") {
        let (file, _) = block.file().unwrap_or_else(|| panic!("{}: names no file", block.place));
        let stack = file.starts_with("stacks/") && file.ends_with("/stack.toml");
        assert!(stack || file == "clients.toml", "{}: {file}", block.place);
    }
}

#[test]
fn every_registry_is_one() {
    let mut count = 0;
    for block in blocks("toml") {
        let Some(("clients.toml", _)) = block.file() else { continue };
        count += 1;
        let fleet =
            if block.text.contains("[fleet]") { "" } else { "[fleet]\nname = 'f'\nstack = 'geoclic'\n" };
        Registry::parse(&format!("{fleet}{}", block.text), &block.place)
            .unwrap_or_else(|found| panic!("{found}"));
    }
    assert!(count > 3, "{count}");
}

/// What a part of a stack.toml does not say itself.
const REST: &str = "name = 'wiki'
[[files]]
template = 'compose.yml'
destination = 'docker-compose.yml'
[services.database]
";
const DATABASE: &str =
    "[database]\nengine = 'postgresql'\nservice = 'database'\nname = 'wiki'\nuser = 'wiki'\n";

#[test]
fn every_part_of_a_stack_is_valid() {
    let mut count = 0;
    for block in blocks("toml") {
        let Some((_, true)) = block.file() else { continue };
        count += 1;
        let home = tempfile::tempdir().expect("a temporary folder");
        let folder = home.path().join("stacks/wiki");
        fs::create_dir_all(&folder).expect("a folder");
        let source = if block.text.contains("build = ") && !block.text.contains("[source]") {
            "[source]\n"
        } else {
            ""
        };
        let has = block.text.lines().any(|line| line == "[database]");
        let database = if has { "" } else { DATABASE };
        let text = format!("{REST}{database}{source}{}", block.text);
        fs::write(folder.join("stack.toml"), text).expect("written");
        fs::write(folder.join("compose.yml"), "services: {}\n").expect("written");
        load_stack(home.path(), "stacks/wiki").unwrap_or_else(|error| panic!("{}: {error:#}", block.place));
    }
    assert!(count > 1, "{count}");
}

/// Every whole stack goes through the real program: each variable that it requires is given, and every
/// file that it names comes out.
#[test]
fn every_stack_renders() {
    let mut count = 0;
    for document in documents() {
        let mut folders: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for block in document.blocks() {
            let Some((file, false)) = block.file() else { continue };
            let Some((name, file)) = file.strip_prefix("stacks/").and_then(|rest| rest.split_once('/'))
            else {
                continue;
            };
            folders.entry(name.to_owned()).or_default().insert(file.to_owned(), block.text);
        }
        for (name, files) in folders {
            count += 1;
            let home = tempfile::tempdir().expect("a temporary folder");
            let folder = home.path().join("stacks").join(&name);
            fs::create_dir_all(&folder).expect("a folder");
            for (file, text) in files {
                fs::write(folder.join(file), text).expect("written");
            }
            let stack = load_stack(home.path(), &format!("stacks/{name}"))
                .unwrap_or_else(|error| panic!("{}: {name}: {error:#}", document.name));
            fs::write(
                home.path().join("clients.toml"),
                format!(
                    "[fleet]\nname = 'f'\nstack = 'stacks/{name}'\n[clients.lyon]\ndomain = 'lyon.example.fr'\n\
                     ip = '192.0.2.1'\nenv = {{ GREETING = \"it's \\\"5\\\"\" }}\n"
                ),
            )
            .expect("written");
            for words in [&["init"][..], &["render", "lyon", "--out", "out", "--reveal"]] {
                let output = Command::new(env!("CARGO_BIN_EXE_fleet"))
                    .args(words)
                    .current_dir(home.path())
                    .env_clear()
                    .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                    .output()
                    .expect("the program starts");
                let told = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}: {name}: {words:?}: {told}", document.name);
            }
            for file in &stack.files {
                let path = home.path().join("out").join(file.destination.as_str());
                assert!(path.is_file(), "{}: {name}: {} was not rendered", document.name, file.destination);
            }
            let site = fs::read_to_string(home.path().join("out/nginx.conf")).expect("the site");
            assert!(site.contains("lyon.example.fr"), "{site}");
        }
    }
    assert!(count > 0);
}

#[test]
fn every_command_line_is_understood() {
    let mut count = 0;
    for block in blocks("sh") {
        for line in block.text.lines() {
            for words in shell::commands(line).into_iter().filter(|words| words[0] == "fleet") {
                count += 1;
                match fleet::cli::command().try_get_matches_from(&words) {
                    Err(error) if error.use_stderr() => panic!("{}: {line}\n{error}", block.place),
                    _ => {}
                }
            }
        }
    }
    assert!(count > 30, "{count}");
}

/// `fleet WORD` within a sentence names a command that there is; so do the comments of the examples.
#[test]
fn every_command_that_is_named_exists() {
    let mut texts: Vec<(String, String)> =
        documents().into_iter().map(|document| (document.name.clone(), document.prose())).collect();
    for name in ["clients.toml.example", "templates/geoclic/stack.toml", "src/cli/init/clients.toml"] {
        texts.push((name.to_owned(), fs::read_to_string(root().join(name)).expect(name)));
    }
    let command = fleet::cli::command();
    let mut count = 0;
    for (name, text) in texts {
        for code in text.split('`').skip(1).step_by(2) {
            let mut words = code.split_whitespace();
            if words.next() != Some("fleet") {
                continue;
            }
            let Some(verb) = words.next() else { continue };
            if verb.starts_with('-') || verb == "COMMAND" {
                continue;
            }
            count += 1;
            let found =
                command.find_subcommand(verb).unwrap_or_else(|| panic!("{name}: `{code}`: no such command"));
            if let Some(second) = words.next()
                && found.has_subcommands()
            {
                assert!(found.find_subcommand(second).is_some(), "{name}: `{code}`: no such command");
            }
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn every_command_is_told_of() {
    let all: String = documents().into_iter().map(|document| document.text).collect();
    for command in fleet::cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(all.contains(&format!("fleet {name}")), "`fleet {name}` is nowhere in README.md or docs/");
    }
}

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let table =
        readme.split("## Exit codes").nth(1).expect("the chapter").split("\n## ").next().expect("text");
    let codes = |text: &str, cut: char| -> Vec<u8> {
        text.split(cut).filter_map(|part| part.trim().split(' ').next()?.parse().ok()).collect()
    };
    let help = fleet::cli::command().render_long_help().to_string();
    let help = help.split("Exit codes:").nth(1).expect("the help names them").replace('\n', " ");
    let rows: Vec<u8> =
        table.lines().filter_map(|row| row.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect();
    assert_eq!(rows, codes(&help, ';'));
}

/// The place that a heading can be linked by, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

fn anchors(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let document = Document { name: String::new(), text };
    let prose = document.prose();
    prose
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    for document in documents() {
        let file = root().join(&document.name);
        for part in document.prose().split("](").skip(1) {
            let target = part.split(')').next().expect("split gives one").to_owned();
            if target.starts_with("https://") {
                continue;
            }
            count += 1;
            let (path, place) =
                target.split_once('#').map_or((target.as_str(), None), |(path, at)| (path, Some(at)));
            let path: PathBuf =
                if path.is_empty() { file.clone() } else { file.with_file_name("").join(path) };
            assert!(path.exists(), "{}: {target} is not there", document.name);
            if let Some(place) = place {
                assert!(
                    anchors(&path).iter().any(|known| known == place),
                    "{}: no place {target}",
                    document.name
                );
            }
        }
    }
    assert!(count > 15, "{count}");
}

#[test]
fn every_picture_is_shown_and_every_script_is_there() {
    let all: String = documents().into_iter().map(|document| document.text).collect();
    for entry in fs::read_dir(root().join("docs/pictures")).expect("docs/pictures/") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(all.contains(&format!("pictures/{name})")), "{name} is shown nowhere");
        let text = fs::read_to_string(&path).expect("a picture");
        assert!(text.starts_with("<svg ") && text.trim_end().ends_with("</svg>"), "{name}");
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    for script in ["scripts/try.sh", "scripts/test.sh"] {
        use std::os::unix::fs::PermissionsExt as _;
        assert!(readme.contains(&format!("```sh\n{script}\n```")), "{script} has a block of its own");
        let mode = fs::metadata(root().join(script)).expect(script).permissions().mode();
        assert!(mode & 0o100 != 0, "{script} can be started");
    }
    let test = fs::read_to_string(root().join("scripts/test.sh")).expect("scripts/test.sh");
    assert!(test.contains("--fast"), "README tells of --fast");
}

/// cargo-deny is not part of the tests; that its policy can be read, and allows nothing that asks to hand
/// out the source, is.
#[test]
fn the_licence_policy_can_be_read() {
    let text = fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let policy: toml::Table = text.parse().expect("TOML");
    let allowed: Vec<&str> = policy["licenses"]["allow"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|licence| licence.as_str().expect("an SPDX name"))
        .collect();
    assert!(
        allowed.contains(&"MIT") && allowed.iter().all(|licence| !licence.contains("GPL")),
        "{allowed:?}"
    );
}
