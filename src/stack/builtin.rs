//! The stacks that come with the program: the folders of `templates/`, embedded.
//!
//! The list is written by hand; a test compares it with the folders, so that no file is forgotten.

use std::borrow::Cow;

use super::load::StackFiles;

/// A stack's folder inside the program.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    pub name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! folder {
    ($name:literal: $($path:literal),+ $(,)?) => {
        Builtin {
            name: $name,
            files: &[$(($path, include_bytes!(concat!("../../templates/", $name, "/", $path)))),+],
        }
    };
}

/// All of them, by name.
pub const BUILTINS: &[Builtin] = &[
    folder!("assistant-auto": "stack.toml", "docker-compose.yml.tera", "env.tera", "nginx.conf.tera"),
    folder!("geoclic": "stack.toml", "docker-compose.yml.tera", "env.tera", "nginx.conf.tera"),
    folder!(
        "neopro":
        "stack.toml",
        "docker-compose.yml.tera",
        "env.tera",
        "env.js.tera",
        "nginx.conf.tera"
    ),
];

impl Builtin {
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Builtin> {
        BUILTINS.iter().find(|builtin| builtin.name == name)
    }
}

impl StackFiles for Builtin {
    fn paths(&self) -> Vec<String> {
        self.files.iter().map(|(path, _)| (*path).to_owned()).collect()
    }

    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.files.iter().find(|(name, _)| *name == path).map(|(_, bytes)| Cow::Borrowed(*bytes))
    }
}
