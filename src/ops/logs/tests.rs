use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_793_960_000 + second).unwrap()
}

fn read(pieces: &[&[u8]]) -> Vec<Said> {
    let (mut reader, mut said) = (Reader::default(), Vec::new());
    pieces.iter().for_each(|piece| reader.take(piece, &mut said));
    reader.finish(&mut said);
    said
}

fn line(second: i64, text: &str) -> Said {
    let (container, service) = ("c0ffee".to_owned(), "api".to_owned());
    Said::Line(Line { container, service, at: at(second), text: text.to_owned() })
}

fn stamped(second: i64, text: &str) -> String {
    format!("{} {text}", at(second))
}

#[test]
fn lines_are_made_of_any_pieces() {
    let text = format!(
        "+c0ffee api 1793960000\n=c0ffee api {}\n\n.\n=c0ffee api {}\n=c0ffee api {}",
        stamped(1, "one"),
        stamped(2, "a b\tc\x1b[2J\r"),
        stamped(3, "no end"),
    );
    let wanted = [
        Said::Attached { container: "c0ffee".into(), at: at(0) },
        line(1, "one"),
        Said::Alive,
        line(2, "a b\tc"),
        line(3, "no end"),
    ];
    assert_eq!(read(&[text.as_bytes()]), wanted);
    for size in 1..20 {
        assert_eq!(read(&text.as_bytes().chunks(size).collect::<Vec<_>>()), wanted, "{size}");
    }
}

#[test]
fn a_line_that_the_script_broke_is_one_again() {
    let long = stamped(1, &"é".repeat(5000));
    let (head, tail) = long.as_bytes().split_at(FOLD);
    let (middle, tail) = tail.split_at(FOLD);
    let mut pieces: Vec<u8> = Vec::new();
    for (part, end) in [(head, "\n.\n"), (middle, "\n=beef db 2026-11-06T10:00:00Z x\n"), (tail, "\n")] {
        pieces.extend_from_slice(b"=c0ffee api ");
        pieces.extend_from_slice(part);
        pieces.extend_from_slice(end.as_bytes());
    }
    let said = read(&[&pieces]);
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(said[2], line(1, &"é".repeat(5000)), "though its characters were cut in two");
}

#[test]
fn a_line_that_docker_kept_in_parts_is_one_again() {
    let (first, last) = ("x".repeat(PART), "y".repeat(PART));
    let text = stamped(1, &first) + &stamped(2, &last) + &stamped(2, "z 2026-11-06T00:00:00Z z");
    let whole = format!("{first}{last}z 2026-11-06T00:00:00Z z");
    assert_eq!(read(&[format!("=c0ffee api {text}\n").as_bytes()]), [line(1, &whole)]);
    let mut folded = Vec::new();
    for piece in text.as_bytes().chunks(FOLD) {
        folded.extend([&b"=c0ffee api "[..], piece, b"\n"].concat());
    }
    assert_eq!(read(&[&folded]), [line(1, &whole)]);
}

#[test]
fn a_line_of_just_that_length_does_not_wait_for_ever() {
    let full = stamped(1, &"x".repeat(FOLD - 21));
    assert_eq!(full.len(), FOLD);
    let text = format!("=c0ffee api {full}\n.\n.\n");
    let (mut reader, mut said) = (Reader::default(), Vec::new());
    reader.take(text.as_bytes(), &mut said);
    assert_eq!(said, [Said::Alive, line(1, &"x".repeat(FOLD - 21)), Said::Alive]);
    let next = format!("=c0ffee api {full}\n=c0ffee api {}\n", stamped(2, "next"));
    assert_eq!(read(&[next.as_bytes()])[1], line(2, "next"));
}

#[test]
fn a_line_without_an_end_fills_no_memory() {
    let text = format!("=c0ffee api {}", stamped(1, &"x".repeat(3 * LONGEST)));
    let said = read(
        &text
            .as_bytes()
            .chunks(1000)
            .chain([&b"\n=c0ffee api 2026-11-06T00:00:00Z y\n"[..]])
            .collect::<Vec<_>>(),
    );
    let Said::Line(line) = &said[0] else { panic!("{said:?}") };
    assert!(
        line.text.len() <= LONGEST + CUT.len() && line.text.ends_with("left out]"),
        "{}",
        line.text.len()
    );
    assert_eq!(said.len(), 2);
}

#[test]
fn what_docker_itself_says_is_a_line_too() {
    let said = read(&[b"=c0ffee api Error response from daemon: no such driver\n"]);
    assert!(matches!(&said[0], Said::Line(line) if line.text.starts_with("Error response")), "{said:?}");
}

#[test]
fn the_script_is_told_where_to_go_on() {
    let ask = Ask {
        stack: "geoclic".into(),
        services: vec!["api".into(), "db".into()],
        tail: Some(100),
        since: Some(When::Ago(Duration::from_secs(60))),
        ..Ask::default()
    };
    let text = |resume: &Resume| String::from_utf8(logs(&ask, resume).input().bytes().to_vec()).unwrap();
    let first = text(&Resume::default());
    assert!(first.starts_with("STACK=geoclic WANTED=' api db '\nFOLLOW=no\n"), "{first}");
    assert!(first.contains("*) echo --tail 100 --since 60s ;;"), "{first}");
    let again = text(&Resume { containers: vec![("c0ffee".into(), at(0))], began: Some(at(-9)) });
    assert!(again.contains(&format!("c0ffee) echo --since {} ;;", at(0))), "{again}");
    assert!(again.contains(&format!("*) echo --since {} ;;", at(-9))), "{again}");
}

/// The script under the machine's own `sh`, with a docker of the test's own.
#[test]
fn the_script_runs_under_a_real_shell() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker");
    std::fs::write(
        &docker,
        "#!/bin/sh\ncase $1 in\nps) printf 'aa web\\nbb db\\ncc job\\n' ;;\nlogs) case $* in *aa*) printf '2026-11-06T10:00:01Z one\\n2026-11-06T10:00:03Z three' ;; *) echo \"2026-11-06T10:00:02Z $*\" ;; esac ;;\nesac\n",
    )
    .unwrap();
    assert!(Command::new("chmod").arg("755").arg(&docker).status().unwrap().success());
    let ask =
        Ask { stack: "x".into(), services: vec!["web".into(), "db".into()], tail: Some(5), ..Ask::default() };
    let mut child = Command::new("sh")
        .arg("-s")
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(logs(&ask, &Resume::default()).input().bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let said = read(&[&output.stdout]);
    let texts: Vec<&str> = said
        .iter()
        .filter_map(|said| if let Said::Line(line) = said { Some(line.text.as_str()) } else { None })
        .collect();
    assert_eq!(texts, ["one", "logs --timestamps --tail 5 bb", "three"]);
}
