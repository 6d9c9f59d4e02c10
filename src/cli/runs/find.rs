//! The run that an operator means: its id, the beginning of it, or `latest`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::exit::refused;
use crate::engine::journal;
use crate::hint::HintExt as _;

/// Runs offered in place of one that is not there.
const OFFERED: usize = 3;

/// The journal of a run.
///
/// # Errors
/// None, or more than one (refused), with those that are nearest.
pub fn find(dir: &Path, wanted: &str) -> anyhow::Result<PathBuf> {
    let unreadable = || format!("the journals in {} cannot be read", dir.display());
    if wanted == "latest" {
        return journal::latest(dir)
            .with_context(unreadable)?
            .ok_or_else(|| refused(format!("there is no run yet in {}", dir.display())));
    }
    let mut found = journal::find(dir, wanted).with_context(unreadable)?;
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    let ids = journal::ids(dir).with_context(unreadable)?;
    if found.is_empty() {
        let near = nearest(wanted, &ids);
        let hint = if near.is_empty() {
            "there is no run yet".to_owned()
        } else {
            format!("the nearest are {}", near.join(", "))
        };
        return Err(refused(format!("no run {wanted:?}")).hint(hint));
    }
    let begin: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| id.starts_with(wanted)).take(OFFERED).collect();
    let hint = format!("give more of its id, such as {}", begin.join(", "));
    Err(refused(format!("{} runs begin with {wanted:?}", found.len())).hint(hint))
}

/// Those that agree with it the longest, the newest first: an id begins with its time.
fn nearest<'a>(wanted: &str, ids: &'a [String]) -> Vec<&'a str> {
    let shared = |id: &str| id.bytes().zip(wanted.bytes()).take_while(|(one, other)| one == other).count();
    let mut near: Vec<&str> = ids.iter().map(String::as_str).collect();
    near.sort_by_key(|id| std::cmp::Reverse(shared(id)));
    near.truncate(OFFERED);
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_share_the_longest_beginning() {
        let ids = ["20261121-1", "20261120-3", "20261120-1", "20261001-1"].map(str::to_owned);
        assert_eq!(nearest("20261120-2", &ids), ["20261120-3", "20261120-1", "20261121-1"]);
        assert_eq!(nearest("yesterday", &ids), ["20261121-1", "20261120-3", "20261120-1"]);
        assert!(nearest("x", &[]).is_empty());
    }
}
