//! A stack from the bytes of its folder, wherever they come from.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::read;
use super::schema::Stack;
use crate::diagnostic::{Diagnostic, Diagnostics, Fault};

/// The file that says what the folder is.
pub const STACK_TOML: &str = "stack.toml";

/// A stack's folder: a folder of the disk, or one embedded in the program.
pub trait StackFiles {
    /// Every file in it, relative, with `/`.
    fn paths(&self) -> Vec<String>;
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>>;
}

impl Stack {
    /// Reads a stack and understands its templates. `shown` is the folder as the operator knows it.
    ///
    /// # Errors
    /// All that is wrong in stack.toml; where nothing is, all that is wrong in the templates.
    pub fn load(files: &dyn StackFiles, shown: &str) -> Result<Stack, Diagnostics> {
        let whole = |fault| {
            let file = format!("{shown}/{STACK_TOML}");
            Diagnostics(vec![Diagnostic { file, position: None, key: String::new(), fault, snippet: None }])
        };
        let Some(text) = files.read(STACK_TOML) else {
            let hint = "a stack is a folder with a stack.toml; the guide shows a small one";
            return Err(whole(Fault::new("there is no such file").hint(hint)));
        };
        let Ok(text) = std::str::from_utf8(&text) else {
            return Err(whole(Fault::new("is no UTF-8 text")));
        };
        let paths = files.paths().into_iter().filter(|path| path != STACK_TOML);
        let contents: BTreeMap<_, _> = paths
            .filter_map(|path| files.read(&path).map(Cow::into_owned).map(|bytes| (path, bytes)))
            .collect();
        let stack = read::read(text, shown, contents)?;
        let templates = stack.templates()?;
        stack.order(&templates)?;
        Ok(stack)
    }
}
