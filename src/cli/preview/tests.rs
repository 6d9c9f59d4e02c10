//! What an operator reads before saying yes.

use super::*;
use crate::engine::tests::surveyed_on;
use crate::ui::{ColorChoice, Wanted};

fn look() -> Look {
    Look::stdout(Wanted { color: ColorChoice::Never, plain: true })
}

/// A client of its own, that serves the release before.
async fn client(name: &str, greeting: &str) -> Surveyed {
    surveyed_on("older-files", |desired| {
        desired.client = name.into();
        desired.domain = format!("{name}.example.org");
        desired.plain.insert("GREETING".into(), greeting.into());
        let text = format!("DB_PASSWORD=x{name}x\nSENTRY_ENVIRONMENT={name}\nGREETING='{greeting}'\n");
        desired.plain.insert("SENTRY_ENVIRONMENT".into(), name.into());
        desired.release.files[1].content = text.into_bytes();
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn clients_that_differ_in_their_own_values_share_one_difference() {
    let hosts =
        [client("arles", "Bonjour").await, client("brest", "Demat").await, client("calais", "Salut").await];
    let text = text(&hosts, &look(), false);
    assert_eq!(text.matches("~ file     .env").count(), 1, "{text}");
    assert!(!text.contains("different for"), "{text}");
    insta::assert_snapshot!(text);
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_file_changes_otherwise_is_named() {
    let mut hosts = vec![client("arles", "Bonjour").await, client("brest", "Demat").await];
    let odd = surveyed_on("older-files", |desired| {
        desired.client = "calais".into();
        desired.domain = "calais.example.org".into();
        desired.release.files[0].content.extend_from_slice(b"# one line more\n");
    });
    hosts.push(odd.await);
    let text = text(&hosts, &look(), false);
    assert!(text.contains("this is arles; different for calais"), "{text}");
    assert!(!text.contains("one line more"), "the difference of most of them is shown: {text}");
    let record = record(&hosts[2], "run-1");
    assert!(record["files"][0]["diff"].as_str().unwrap().contains("+# one line more"), "{record:#}");
    assert!(!record.to_string().contains(crate::plan::tests::wish::SECRET));
}

#[tokio::test(start_paused = true)]
async fn a_first_release_is_told_by_its_steps_and_files_alone() {
    let text = text(&[surveyed_on("bare-debian-13", |_| {}).await], &look(), false);
    assert!(text.contains("+ file     docker-compose.yml +18 -0"), "{text}");
    assert!(!text.contains("service ") && !text.contains("image: nginx"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_long_difference_is_cut_unless_more_was_asked_for() {
    let long = surveyed_on("older-files", |desired| {
        let more: String = (0..60).map(|n| format!("# line {n}\n")).collect();
        desired.release.files[0].content.extend_from_slice(more.as_bytes());
    });
    let hosts = [long.await];
    let short = text(&hosts, &look(), false);
    assert!(short.contains("lines more with --verbose") && !short.contains("# line 59"), "{short}");
    assert!(text(&hosts, &look(), true).contains("+# line 59"));
}
