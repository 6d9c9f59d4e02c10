//! `fleet init`: a fleet directory to start from.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::App;
use super::exit::refused;
use crate::event::ExitKind;
use crate::fs_atomic;
use crate::hint::HintExt as _;
use crate::keys;
use crate::registry::Registry;
use crate::registry::values::{FilePath, Name};
use crate::vault::{self, Recipient, Vault};

const TEMPLATE: &str = include_str!("init/clients.toml");

/// What git must never see, and what it may of those folders.
const IGNORED: &[&str] = &["/.fleet/", "/keys/*", "!/keys/*.pub", ".*.tmp"];

/// Make a fleet directory: clients.toml, an SSH key, an age identity, .gitignore
///
/// Works in the current folder, or in the one that -C names. What is there already stays as it is,
/// so that it can be run again at any time.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  fleet init
  fleet -C ~/fleets/geoclic init --name geoclic --stack geoclic")]
pub struct Args {
    /// Name of the fleet, such as geoclic [default: the folder's name]
    #[arg(long, value_name = "NAME", value_parser = super::add::value(Name::parse))]
    pub name: Option<Name>,

    /// Stack that the clients run: a built-in one such as geoclic, or a folder such as stacks/mine
    #[arg(long, value_name = "STACK", default_value = "geoclic", value_parser = super::add::value(FilePath::parse))]
    pub stack: FilePath,
}

/// One thing that a fleet directory holds.
struct Part {
    path: PathBuf,
    what: String,
    made: bool,
}

pub fn run(app: &App, args: &Args) -> anyhow::Result<ExitKind> {
    // Empty for the current folder: paths are then shown without a leading `./`.
    let dir = app.global.directory.clone().unwrap_or_default();
    let file = dir.join(app.global.config.clone().unwrap_or_else(|| PathBuf::from("clients.toml")));
    fs_atomic::create_folder(&dir, 0o755)?;
    let mut parts = Vec::new();
    let registry = registry(&dir, &file, args, &mut parts)?;
    let key = dir.join(registry.fleet.ssh_key.as_str());
    ignore(&dir, registry.fleet.ssh_key.as_str(), &mut parts)?;
    let line = ssh_key(&key, &registry.fleet.name, &mut parts)?;
    let own = identity(app, &dir, &registry, &mut parts)?;
    if app.global.json {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| json!({ "path": part.path, "what": part.what, "made": part.made }))
            .collect();
        app.out(
            &json!({ "schema": "fleet.init/1", "fleet": registry.fleet.name, "parts": parts,
                "ssh_key": line, "recipient": own })
            .to_string(),
        )?;
        return Ok(ExitKind::Ok);
    }
    for part in &parts {
        let word = if part.made { "made " } else { "there" };
        app.out(&format!("{word} {}  {}", part.path.display(), part.what))?;
    }
    app.tell(&next(&dir, &file, &registry, &line));
    Ok(ExitKind::Ok)
}

/// The registry that is there, or a new one that holds no client.
fn registry(dir: &Path, file: &Path, args: &Args, parts: &mut Vec<Part>) -> anyhow::Result<Registry> {
    let shown = file.display().to_string();
    let before = fs_atomic::read_optional(file)?;
    let made = before.is_none();
    let text = match before {
        Some(bytes) => String::from_utf8(bytes).map_err(|_| refused(format!("{shown} is not UTF-8")))?,
        None => {
            let name = match &args.name {
                Some(name) => name.clone(),
                None => folder_name(dir)?,
            };
            let quoted = |text: &str| toml_edit::Value::from(text).to_string().trim().to_owned();
            TEMPLATE.replace("@NAME@", &quoted(&name)).replace("@STACK@", &quoted(&args.stack))
        }
    };
    let registry = Registry::parse(&text, &shown)?;
    if made {
        fs_atomic::create_new(file, text.as_bytes(), 0o644)?;
    }
    let what = match registry.clients.len() {
        0 => "the registry: fleet settings, defaults, one table per client".to_owned(),
        count => format!("the registry, with {count} clients"),
    };
    parts.push(Part { path: file.to_owned(), what, made });
    Ok(registry)
}

/// A fleet's name from the folder's, with what no name has turned into `-`.
fn folder_name(dir: &Path) -> anyhow::Result<Name> {
    let full = Path::new(".").join(dir);
    let full = full.canonicalize().with_context(|| format!("{} cannot be read", dir.display()))?;
    let folder = full.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let words: Vec<_> =
        folder.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let plain = words.join("-");
    let short = plain.get(..plain.len().min(63)).unwrap_or_default().trim_end_matches('-');
    Name::parse(short).map_err(|_| {
        super::exit::usage(format!("the folder's name {folder:?} gives no name for the fleet"))
            .hint("give one with --name, such as --name geoclic")
    })
}

/// Lines are added to a `.gitignore` that is there, never taken out.
fn ignore(dir: &Path, key: &str, parts: &mut Vec<Part>) -> anyhow::Result<()> {
    let path = dir.join(".gitignore");
    let before = fs_atomic::read_optional(&path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mut wanted: Vec<String> = IGNORED.iter().map(|line| (*line).to_owned()).collect();
    // A key of the fleet directory that is kept elsewhere is private all the same.
    if !key.starts_with("keys/") && !key.starts_with('/') && !key.starts_with("..") {
        let key = key.trim_start_matches("./");
        wanted.extend(["", ".next", ".old"].map(|end| format!("/{key}{end}")));
    }
    let text = before.clone().unwrap_or_default();
    wanted.retain(|line| text.lines().all(|known| known.trim() != line));
    if wanted.is_empty() {
        parts.push(Part { path, what: "keeps private keys and local state out of git".into(), made: false });
        return Ok(());
    }
    let mut new = text;
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    new.push_str("# Private keys and local state of fleet: never commit them.\n");
    for line in &wanted {
        new.push_str(&format!("{line}\n"));
    }
    fs_atomic::replace(&path, new.as_bytes(), 0o644)?;
    let what = match before {
        Some(_) => format!("{} lines added, to keep private keys and local state out of git", wanted.len()),
        None => "keeps private keys and local state out of git".to_owned(),
    };
    parts.push(Part { path, what, made: true });
    Ok(())
}

/// The public line of the fleet's key.
fn ssh_key(path: &Path, fleet: &str, parts: &mut Vec<Part>) -> anyhow::Result<String> {
    let made = !path.exists();
    if made {
        keys::generate(path, fleet, &mut rand::rng())?;
    }
    let shown = keys::show(path)?;
    parts.push(Part {
        path: path.to_owned(),
        what: format!("the fleet's SSH key, {}", shown.fingerprint),
        made,
    });
    Ok(shown.line)
}

/// The operator's own public key, which is a recipient of the secrets afterwards.
fn identity(app: &App, dir: &Path, registry: &Registry, parts: &mut Vec<Part>) -> anyhow::Result<String> {
    let list = dir.join("secrets/recipients.txt");
    let listed = list.exists();
    let (path, made, own) = match &app.global.identity {
        // Another key reads the secrets here; a second one would only be in the way.
        Some(path) => {
            let extra: Vec<String> =
                registry.fleet.recipients.iter().map(|recipient| recipient.to_string()).collect();
            let vault = Vault::open(dir, &extra, Some(path.clone()))?;
            let own = vault.own_key()?;
            let comment = fs_atomic::operator();
            let recipient = Recipient::parse(&format!("{own} {comment}"))
                .map_err(|problem| refused(problem.message).hint(problem.hint))?;
            vault.add_recipient(&recipient)?;
            (path.clone(), false, own)
        }
        None => {
            let path = dir.join(".fleet/identity.txt");
            let made = !path.exists();
            let own = vault::init_identity(dir, &fs_atomic::operator(), jiff::Timestamp::now())?;
            (path, made, own.key)
        }
    };
    let what = "the age identity that reads every client's secrets: keep a copy offline";
    parts.push(Part { path, what: what.to_owned(), made });
    let what = "public keys of those who can read the secrets";
    parts.push(Part { path: list, what: what.to_owned(), made: !listed });
    Ok(own)
}

fn next(dir: &Path, file: &Path, registry: &Registry, line: &str) -> String {
    let here = if dir.as_os_str().is_empty() { String::new() } else { format!("-C {} ", dir.display()) };
    let mut text = String::from("\nNext:\n");
    if registry.clients.is_empty() {
        text.push_str(&format!(
            "  look over {}, then add a client:\n    fleet {here}add ville-lyon --domain ville-lyon.example.fr --ip \
             51.210.42.100\n",
            file.display()
        ));
    }
    text.push_str(&format!(
        "  let the fleet's key into each server, as its user there:\n    echo '{line}' >> ~/.ssh/authorized_keys\n  \
         then see whether it is let in, and make the server serve:\n    fleet {here}test-ssh --all\n    \
         fleet {here}provision --all\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> String {
        TEMPLATE.replace("@NAME@", "\"geoclic\"").replace("@STACK@", "\"geoclic\"")
    }

    #[test]
    fn the_template_is_a_registry_without_clients() {
        let registry = Registry::parse(&filled(), "clients.toml").unwrap();
        assert!(registry.clients.is_empty());
    }

    #[test]
    fn its_examples_are_valid_too() {
        let all: String = filled()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(example) if !example.starts_with(' ') => format!("{example}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let registry = Registry::parse(&all, "clients.toml").unwrap();
        assert_eq!(registry.clients.len(), 1);
        assert_eq!(registry.clients[0].email.as_ref().unwrap().as_str(), "admin@ville-lyon.example.fr");
    }

    #[test]
    fn a_folder_names_its_fleet() {
        let home = tempfile::tempdir().unwrap();
        let named = |folder: &str| {
            let dir = home.path().join(folder);
            std::fs::create_dir_all(&dir).unwrap();
            folder_name(&dir).map(|name| name.to_string())
        };
        assert_eq!(named("Flotte_GéoClic 2").unwrap(), "flotte-g-oclic-2");
        assert_eq!(named(&"a".repeat(80)).unwrap().len(), 63);
        assert!(named("___").is_err());
    }
}
