//! Finds a stack: a folder of the fleet directory, a path, or one that comes with the program.
//!
//! Rule of this file: it reads, and only what lies inside the folder it was given; a symbolic link that
//! leads out of it is an error, since a stack may come from someone else.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::diagnostic::nearest;
use crate::hint::HintExt as _;
use crate::stack::{BUILTINS, Builtin, Stack, StackFiles};

/// Largest folder that is read, in bytes: templates and migrations, no data.
const MOST_BYTES: u64 = 16 << 20;
/// Most files in it.
const MOST_FILES: usize = 2000;

/// Loads the stack that a registry names: `stacks/NAME` of the fleet directory if there is one, else a
/// path relative to the fleet directory, else a built-in.
///
/// # Errors
/// No such stack; a folder that cannot be read; everything that is wrong in it
/// ([`crate::diagnostic::Diagnostics`]).
pub fn load_stack(fleet_dir: &Path, name: &str) -> Result<Stack> {
    let is_name = !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
    let own = fleet_dir.join("stacks").join(name);
    if is_name && own.is_dir() {
        return load_folder(&own, &format!("stacks/{name}"));
    }
    let path = fleet_dir.join(name);
    if path.is_dir() && (!is_name || path.join("stack.toml").exists()) {
        return load_folder(&path, name.trim_end_matches('/'));
    }
    if let Some(builtin) = Builtin::find(name) {
        return Ok(Stack::load(builtin, &format!("{name} (built in)"))?);
    }
    Err(unknown(fleet_dir, name, is_name))
}

fn unknown(fleet_dir: &Path, name: &str, is_name: bool) -> anyhow::Error {
    let builtins: Vec<_> = BUILTINS.iter().map(|builtin| builtin.name).collect();
    if !is_name {
        let folder = fleet_dir.display();
        return anyhow::anyhow!("no stack at {name}: there is no such folder under {folder}")
            .hint(format!("built in are {}", builtins.join(", ")));
    }
    let own = own_stacks(fleet_dir);
    let known: Vec<_> = own.iter().map(String::as_str).chain(builtins.iter().copied()).collect();
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if own.is_empty() => format!("built in are {}", builtins.join(", ")),
        None => format!("under stacks/ are {}; built in are {}", own.join(", "), builtins.join(", ")),
    };
    anyhow::anyhow!("no stack `{name}`: neither stacks/{name} nor one that is built in").hint(hint)
}

fn own_stacks(fleet_dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(fleet_dir.join("stacks")).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().join("stack.toml").exists());
    let mut names: Vec<_> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn load_folder(folder: &Path, shown: &str) -> Result<Stack> {
    let folder = Folder::read(folder).with_context(|| format!("cannot read the stack {shown}"))?;
    Ok(Stack::load(&folder, shown)?)
}

/// A folder of the disk, read once.
struct Folder(BTreeMap<String, Vec<u8>>);

impl Folder {
    fn read(folder: &Path) -> Result<Folder> {
        let root = folder.canonicalize()?;
        let mut files = BTreeMap::new();
        let mut bytes = 0;
        // Hidden files are the editor's and git's, not the stack's.
        let visible = |entry: &walkdir::DirEntry| {
            entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
        };
        for entry in walkdir::WalkDir::new(&root).sort_by_file_name().into_iter().filter_entry(visible) {
            let entry = entry?;
            let Some(path) = inside(&root, entry.path())? else { continue };
            let name = entry.path().strip_prefix(&root)?.to_str().map(str::to_owned);
            let Some(name) = name else { bail!("a file name is no UTF-8: {}", entry.path().display()) };
            bytes += path.metadata()?.len();
            if bytes > MOST_BYTES || files.len() >= MOST_FILES {
                let most = MOST_BYTES >> 20;
                return Err(anyhow::anyhow!("it holds more than {most} MiB or {MOST_FILES} files").hint(
                    "a stack is templates and migrations; code belongs into the source, named in clients.toml",
                ));
            }
            files.insert(name, std::fs::read(&path).with_context(|| path.display().to_string())?);
        }
        Ok(Folder(files))
    }
}

/// The file that an entry is, if it is one; a link is followed as long as it stays inside.
fn inside(root: &Path, entry: &Path) -> Result<Option<PathBuf>> {
    let path = entry.canonicalize().with_context(|| entry.display().to_string())?;
    if !path.starts_with(root) {
        bail!("{} leads out of the folder to {}", entry.display(), path.display());
    }
    let kind = path.metadata()?;
    if path != entry && kind.is_dir() {
        bail!("{} is a link to a folder; put the folder there instead", entry.display());
    }
    Ok(kind.is_file().then_some(path))
}

impl StackFiles for Folder {
    fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.0.get(path).map(|bytes| Cow::Borrowed(bytes.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str =
        "name = \"NAME\"\n[[files]]\ntemplate = \"c.tera\"\ndestination = \"docker-compose.yml\"\n";

    fn stack(folder: &Path, name: &str) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("stack.toml"), TINY.replace("NAME", name)).unwrap();
        std::fs::write(folder.join("c.tera"), "services: {}\n").unwrap();
    }

    fn refused(fleet: &Path, name: &str) -> String {
        let error = load_stack(fleet, name).unwrap_err();
        let hints = crate::hint::hints(&error).into_iter().map(|hint| format!("\n  hint: {hint}"));
        let error = format!("{error:#}{}", hints.collect::<String>());
        error.replace(&fleet.canonicalize().unwrap().display().to_string(), "FLEET")
    }

    #[test]
    fn a_folder_of_the_fleet_comes_before_a_built_in_of_its_name() {
        let home = tempfile::tempdir().unwrap();
        let fleet = home.path().join("fleet");
        std::fs::create_dir(&fleet).unwrap();
        let builtin = BUILTINS[0].name;
        assert_eq!(load_stack(&fleet, builtin).unwrap().folder, format!("{builtin} (built in)"));
        stack(&fleet.join("stacks").join(builtin), "mine");
        assert_eq!(load_stack(&fleet, builtin).unwrap().name, "mine");
        stack(&home.path().join("elsewhere"), "other");
        assert_eq!(load_stack(&fleet, "../elsewhere").unwrap().name, "other");
        stack(&fleet.join("here"), "here");
        assert_eq!(load_stack(&fleet, "here").unwrap().name, "here");
        // A folder that only has the name of a built-in is no stack.
        std::fs::remove_dir_all(fleet.join("stacks")).unwrap();
        std::fs::create_dir(fleet.join(builtin)).unwrap();
        assert_eq!(load_stack(&fleet, builtin).unwrap().name, builtin);
    }

    #[test]
    fn an_unknown_name_says_what_there_is() {
        let home = tempfile::tempdir().unwrap();
        stack(&home.path().join("stacks/shop"), "shop");
        insta::assert_snapshot!(refused(home.path(), "shpo"), @"
        no stack `shpo`: neither stacks/shpo nor one that is built in
          hint: did you mean `shop`?
        ");
        assert!(refused(home.path(), "nothing-like-it").contains("under stacks/ are shop; built in are "));
        assert!(refused(home.path(), "../nothing").contains("no stack at ../nothing"));
    }

    #[test]
    fn a_link_out_of_the_folder_is_refused() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("private"), "key").unwrap();
        let folder = home.path().join("stacks/shop");
        stack(&folder, "shop");
        std::os::unix::fs::symlink("c.tera", folder.join("d.tera")).unwrap();
        assert_eq!(load_stack(home.path(), "shop").unwrap().contents.len(), 2);
        std::os::unix::fs::symlink("../../private", folder.join("e.tera")).unwrap();
        insta::assert_snapshot!(refused(home.path(), "shop"), @"cannot read the stack stacks/shop: FLEET/stacks/shop/e.tera leads out of the folder to FLEET/private");
    }
}
