//! What git says of a source tree: the commits that a release brings. A tree without git has none, and that is no
//! fault.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use crate::secret::{Redactor, clean};

/// Most commits that one release is told with.
const MOST: usize = 200;
/// The same where it is not known which came before.
const FIRST: usize = 20;
/// Longest message, in characters.
const LONGEST: usize = 2_000;

/// The commits of a release, the newest first, as Sentry takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commits {
    /// Of the newest.
    pub head: String,
    pub list: Vec<Json>,
}

/// Commits of a tree behind the one that was told last; `None` where there is no git, or nothing new.
#[must_use]
pub fn of(tree: &Path, last: Option<&str>, redactor: &Redactor) -> Option<Commits> {
    let head = git(tree, &["rev-parse", "--verify", "--quiet", "HEAD"])?.trim().to_owned();
    if head.is_empty() || last == Some(head.as_str()) {
        return None;
    }
    // One that was rewritten away leads nowhere.
    let last = last
        .filter(|last| is_hash(last) && git(tree, &["merge-base", "--is-ancestor", last, "HEAD"]).is_some());
    let (range, most) = match last {
        Some(last) => (format!("{last}..HEAD"), MOST),
        None => ("HEAD".to_owned(), FIRST),
    };
    let most = format!("--max-count={most}");
    let form = "--format=%H%x1f%an%x1f%ae%x1f%aI%x1f%B";
    let said = git(tree, &["log", "-z", &most, form, &range, "--", "."])?;
    let list: Vec<Json> = said.split('\0').filter_map(|text| commit(text, redactor)).collect();
    (!list.is_empty()).then_some(Commits { head, list })
}

fn is_hash(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn commit(text: &str, redactor: &Redactor) -> Option<Json> {
    let mut parts = text.trim_start().splitn(5, '\u{1f}');
    let id = parts.next().filter(|id| is_hash(id))?;
    let mut next = || {
        let text = redactor.redact(&clean(parts.next().unwrap_or_default().trim())).into_owned();
        text.chars().take(LONGEST).collect::<String>()
    };
    let (name, email, at, message) = (next(), next(), next(), next());
    Some(json!({ "id": id, "author_name": name, "author_email": email, "timestamp": at, "message": message }))
}

/// What git prints; nothing where it fails or is not there.
fn git(tree: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(words)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn run(tree: &Path, words: &[&str]) {
        let own = ["-c", "user.name=Jean", "-c", "user.email=jean@example.fr", "-c", "commit.gpgsign=false"];
        let status =
            Command::new("git").arg("-C").arg(tree).args(own).args(words).stdout(Stdio::null()).status();
        assert!(status.unwrap().success(), "{words:?}");
    }

    #[test]
    fn what_is_new_in_a_folder_of_a_tree_is_told_and_nothing_secret() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, app) = (dir.path(), dir.path().join("app"));
        let (known, none) = (Secret::from("Poison7Q2xK9"), Redactor::default());
        let redactor = Redactor::new([("DB_PASSWORD", &known)]);
        assert_eq!(of(tree, None, &none), None, "no git");
        run(tree, &["init", "-q"]);
        assert_eq!(of(tree, None, &none), None, "no commit");
        std::fs::create_dir(&app).unwrap();
        for (n, place) in ["app/a", "other", "app/b"].iter().enumerate() {
            std::fs::write(tree.join(place), "x").unwrap();
            run(tree, &["add", "."]);
            run(tree, &["commit", "-qm", &format!("change {n}\n\npassword was Poison7Q2xK9\u{1b}[2J")]);
        }
        let all = of(&app, None, &redactor).unwrap();
        let messages: Vec<_> = all.list.iter().map(|one| one["message"].as_str().unwrap()).collect();
        assert_eq!(
            messages,
            [
                "change 2\n\npassword was [secret DB_PASSWORD]",
                "change 0\n\npassword was [secret DB_PASSWORD]"
            ]
        );
        assert_eq!(all.list[0]["author_email"], "jean@example.fr");
        assert_eq!(all.list[0]["id"], all.head);
        let first = all.list[1]["id"].as_str().unwrap();
        assert_eq!(of(&app, Some(first), &none).unwrap().list.len(), 1);
        assert_eq!(of(&app, Some(&all.head), &none), None);
        // One that is not there any more is as none, and no option of git.
        assert_eq!(of(&app, Some(&"0".repeat(40)), &none).unwrap().list.len(), 2);
        assert_eq!(of(&app, Some("--all"), &none).unwrap().list.len(), 2);
    }
}
