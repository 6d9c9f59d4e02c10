//! What hosts print on its way to the operator: cut into lines, cleaned, masked, bounded.

use super::rig::{Act, Rig, kind};
use crate::plan::tests::wish::SECRET;
use crate::ssh::Stream;

/// What the operator is shown of these pieces of output of one step.
async fn shown(pieces: &[&[u8]]) -> Vec<String> {
    let pieces: Vec<(Stream, Vec<u8>)> =
        pieces.iter().map(|bytes| (Stream::Stdout, bytes.to_vec())).collect();
    shown_of(pieces).await
}

async fn shown_of(pieces: Vec<(Stream, Vec<u8>)>) -> Vec<String> {
    let mut rig = Rig::acting(
        "older-release",
        |script| script,
        move |cmd| (kind(cmd) == "build").then(|| Act::Say(pieces.clone(), 0)),
    );
    rig.update().await;
    rig.output()
}

#[tokio::test(start_paused = true)]
async fn chunks_become_lines() {
    assert_eq!(shown(&[b"one\ntw", b"o\n\n\nthree"]).await, ["one", "two", "three"]);
    assert_eq!(shown(&[b"10%\r50%\r", b"100%\r\ndone\r\n"]).await, ["10%", "50%", "100%", "done"]);
}

#[tokio::test(start_paused = true)]
async fn the_two_streams_do_not_mix() {
    let pieces = [
        (Stream::Stdout, &b"ou"[..]),
        (Stream::Stderr, b"err\n"),
        (Stream::Stdout, b"t\n"),
        (Stream::Stderr, b"x"),
    ];
    let pieces = pieces.map(|(stream, bytes)| (stream, bytes.to_vec())).to_vec();
    assert_eq!(shown_of(pieces).await, ["err", "out", "x"]);
}

#[tokio::test(start_paused = true)]
async fn control_sequences_lose_their_power() {
    let lines = shown(&[b"\x1b[2J\x1b[31mred\x1b[0m\x07 \xff \x1b]0;title", b"\x07end\n"]).await;
    assert_eq!(lines, ["red\u{fffd} \u{fffd} end"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_masked_wherever_the_chunks_end() {
    for cut in 0..=SECRET.len() {
        let (head, tail) = SECRET.split_at(cut);
        let lines = shown(&[format!("password={head}").as_bytes(), format!("{tail} ok\n").as_bytes()]).await;
        assert_eq!(lines, ["password=[secret DB_PASSWORD] ok"], "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_with_colours_in_its_middle_is_masked() {
    let (head, tail) = SECRET.split_at(8);
    let lines = shown(&[format!("a {head}\x1b[1m{tail} b\n").as_bytes()]).await;
    assert_eq!(lines, ["a [secret DB_PASSWORD] b"]);
}

/// The pieces that a line without an end is cut into hide no part of a secret.
#[tokio::test(start_paused = true)]
async fn a_line_without_an_end_is_shown_in_part() {
    let long = "x".repeat(1 << 20);
    let lines = shown(&[long.as_bytes(), b"\nnext\n"]).await;
    assert_eq!(lines.len(), 2, "{}", lines.len());
    assert_eq!((lines[0].chars().count(), lines[1].as_str()), (2000, "next"));
    for before in [1990, 31_990, 32_000, 63_995] {
        let text = format!("{}{SECRET}{}\n", "y".repeat(before), "z".repeat(50_000));
        for chunk in [7, 4096, 1 << 20] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(chunk).collect();
            let all = shown(&pieces).await.join("\n");
            assert!(!all.contains(&SECRET[..6]), "{before} by {chunk}");
            assert!(!all.contains(&SECRET[SECRET.len() - 6..]), "{before} by {chunk}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_million_short_lines_are_no_burden() {
    let text = "ab\n".repeat(300_000);
    assert_eq!(shown(&[text.as_bytes()]).await.len(), 300_000);
}
