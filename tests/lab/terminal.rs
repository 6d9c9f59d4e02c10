//! `fleet ssh` at a real terminal: its size, Ctrl-C and the exit code reach the host and the container.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::kit::{Fleet, town};

/// Types at `fleet WORDS` and sees what must come; gives its exit code and the screen.
#[track_caller]
fn at_terminal(fleet: &Fleet, words: &[&str], steps: &Value) -> (i64, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/kit/terminal.py");
    let mut child = Command::new("python3")
        .arg(script)
        .args([env!("CARGO_BIN_EXE_fleet").as_ref(), "-C".as_ref(), fleet.dir.as_os_str()])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    serde_json::to_writer(child.stdin.take().expect("a pipe"), steps).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let shown = said["shown"].as_str().expect("a screen").to_owned();
    assert_eq!(said["missing"], Value::Null, "`fleet {}` showed:\n{shown}", words.join(" "));
    (said["code"].as_i64().expect("an exit code"), shown)
}

#[test]
fn a_shell_on_a_host_and_in_a_container_is_a_real_terminal() {
    let town = town();
    let name = town.one.name.as_str();
    for place in [&["ssh", name][..], &["ssh", name, "--service", "nginx"]] {
        let (code, shown) = at_terminal(
            &town.fleet,
            place,
            &json!([
                ["size", 31, 97],
                ["see", "[#$] "],
                // What is typed is echoed: the answer must not be found in the question.
                ["type", "stty size; echo the-size-was-$((40 + 2))\r"],
                ["see", "31 97\\s+the-size-was-42"],
                ["size", 44, 132],
                ["type", "sleep 1; stty size; echo and-now-$((40 + 2))\r"],
                ["see", "44 132\\s+and-now-42"],
                // It has the terminal by the time that it speaks.
                ["type", "sh -c 'echo runs-$((40 + 2)); exec sleep 300'\r"],
                ["see", "runs-42"],
                // What is typed behind it too early is thrown away with the rest of the line.
                ["type", "\u{3}"],
                ["see", "\\^C[^$#]*[#$] "],
                ["type", "echo still-$((40 + 2))\r"],
                ["see", "still-42"],
                ["type", "exit 7\r"]
            ]),
        );
        assert_eq!(code, 7, "the shell's own exit code: {place:?}\n{shown}");
    }
    let (code, shown) =
        at_terminal(&town.fleet, &["ssh", name, "--", "sh", "-c", "tty && exit 5"], &json!([]));
    assert!(code == 5 && shown.contains("/dev/pts/"), "{code}: {shown}");
}
