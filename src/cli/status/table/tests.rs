use super::*;
use crate::check::Wanted;
use crate::plan::tests::{hosts, wish};
use crate::status::{Expected, Pulled};
use crate::ui::{ColorChoice, Wanted as Asked};

fn expected(client: &str) -> Expected {
    let judged = Wanted {
        client: client.into(),
        stack: "geoclic".into(),
        http_status: Some(200),
        tls: true,
        dumps: true,
        sentry_path: Some("sentry".into()),
        ..Wanted::default()
    };
    Expected { domain: format!("{client}.example.fr"), judged, sentry_path: Some("sentry".into()) }
}

fn of(client: &str, host: &str) -> Status {
    let facts = hosts::facts(host, &wish::desired());
    let pulled = Pulled {
        at: "2026-11-05T20:00:00Z".into(),
        age_hours: 13,
        snapshot: "3f9a".into(),
        proved: Some("2026-11-01T03:00:00Z".into()),
        failure: None,
        disproof: None,
    };
    Status::of(&expected(client), &facts, 0.25, None).with_pulled(Some(pulled))
}

/// One in ten is down, one in ten has a database that is.
fn hundred() -> Vec<Status> {
    let mut list: Vec<Status> = (0..100)
        .map(|number| {
            let name = format!("ville-{number:02}");
            match number % 10 {
                3 => Status::unreachable(
                    &expected(&name),
                    "no answer on port 22 within 10 s".into(),
                    None,
                    10.0,
                ),
                7 => of(&name, "database-down"),
                _ => of(&name, "current"),
            }
        })
        .collect();
    list.sort_by_key(|status| (status.well(), status.reachable));
    list
}

fn shown(width: usize, rows: usize, wide: bool, plain: bool) -> Shown {
    let env = |name: &str| {
        let value = match name {
            "LANG" => "fr_FR.UTF-8",
            "TERM" => "xterm",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let wanted = Asked { color: ColorChoice::Never, plain };
    let look = Look::resolve(wanted, &env, Some((width, rows)));
    Shown { wide, now: "2026-11-06T09:20:00Z".parse().unwrap(), look }
}

#[test]
fn a_hundred_clients_fit_on_a_screen_with_what_is_wrong_on_top() {
    let list = hundred();
    let (table, folded) = lines(&list, &shown(80, 40, false, false), 40);
    let folded = folded.expect("those that are well are named");
    assert!(table.lines().count() + folded.lines().count() <= 36, "{table}{folded}");
    insta::assert_snapshot!(format!("{table}{folded}"));
    for width in [40, 80, 132, 200] {
        let (table, folded) = lines(&list, &shown(width, 40, false, false), 40);
        let folded = folded.unwrap();
        assert!(
            table.lines().chain(folded.lines()).all(|line| line.chars().count() <= width),
            "{width}:\n{table}{folded}"
        );
    }
    // Where all have room all have a row.
    let (table, folded) = lines(&list, &shown(80, 200, false, false), 200);
    assert_eq!((table.lines().count(), folded), (101, None));
}

#[test]
fn the_wide_table_has_what_is_known() {
    let list = [of("ville-lyon", "current"), of("brest", "database-down")];
    insta::assert_snapshot!(lines(&list, &shown(260, 40, true, false), 40).0);
}

#[test]
fn plain_and_ascii_say_the_same_in_words() {
    let list = [of("ville-lyon", "current"), of("brest", "database-down")];
    let plain = lines(&list, &shown(100, 40, false, true), 40).0;
    assert!(plain.is_ascii() && plain.contains(" well ") && plain.contains("not well"), "{plain}");
    assert!(!plain.contains('+') && !plain.contains('!'), "no symbol is read aloud: {plain}");
    let mut ascii = shown(100, 40, false, false);
    ascii.look.unicode = false;
    let ascii = lines(&list, &ascii, 40).0;
    assert!(ascii.is_ascii() && ascii.contains("+ well") && ascii.contains("! not well"), "{ascii}");
}

#[test]
fn an_issuer_is_its_name() {
    assert_eq!(issuer("C = US, O = Let's Encrypt, CN = R11"), "Let's Encrypt R11");
    assert_eq!(issuer("CN=Pebble Intermediate CA 2f7a"), "Pebble Intermediate CA 2f7a");
    assert_eq!(issuer("/C=US/O=Let's Encrypt/CN=E5"), "Let's Encrypt E5");
    assert_eq!(issuer("odd"), "odd");
    assert_eq!(
        (short("04A1B2C3D4E5F6").as_str(), short("05F1").as_str(), short("").as_str()),
        ("..C3D4E5F6", "05F1", "none")
    );
}

#[test]
fn ages_are_in_one_unit() {
    let now = "2026-11-06T09:20:00Z".parse().unwrap();
    let ages =
        ["2026-11-06T09:10:00Z", "2026-11-05T20:20:00Z", "2026-10-06T09:20:00Z", "2027-01-01T00:00:00Z"];
    let ages: Vec<String> = ages.iter().filter_map(|at| age(at, now)).collect();
    assert_eq!(ages, ["10 min", "13 h", "31 d", "0 min"]);
    assert_eq!(age("never", now), None);
}
