//! Commands of a stack that run on a host at certain points.

use std::time::Duration;

use super::{Layout, compose};
use crate::shell::Cmd;

/// As root, in the folder of the release that serves; in `/` before there is one. What it is told, it is
/// told by variables.
#[must_use]
pub fn on_host(layout: &Layout, words: &[String], env: &[(String, String)], limit: Duration) -> Cmd {
    let script = r#"cd "$1" 2>/dev/null || cd /
shift
exec env "$@""#;
    let fixed = ["sh", "-c", script, "sh"].map(str::to_owned);
    let env = env.iter().map(|(name, value)| format!("{name}={value}"));
    Cmd::new(fixed.into_iter().chain([layout.at("current")]).chain(env).chain(words.iter().cloned()))
        .sudo()
        .timeout(limit)
}

/// In the newest running container of a service.
#[must_use]
pub fn inside(
    layout: &Layout,
    service: &str,
    words: &[String],
    env: &[(String, String)],
    limit: Duration,
) -> Cmd {
    compose::inside_with(&layout.stack, service, words, env).timeout(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_gets_its_words_and_variables_untouched_through_a_real_shell() {
        let words = [
            "sh",
            "-c",
            r#"printf '%s|' "$PWD" "$FLEET_CLIENT" "$FLEET_MESSAGE" "$1"; exit 3"#,
            "sh",
            "a 'b' $c",
        ];
        let env = [("FLEET_CLIENT", "ville"), ("FLEET_MESSAGE", "it's $(id) \\ *\nnext")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let cmd = on_host(&Layout::new("no-such"), &words.map(str::to_owned), &env, Duration::from_secs(5));
        assert!(cmd.line().starts_with("sudo -n timeout -k 10 5 sh -c "), "{}", cmd.line());
        let output = std::process::Command::new("sh").args(["-c", &cmd.as_root().line()]).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "/|ville|it's $(id) \\ *\nnext|a 'b' $c|");
    }
}
