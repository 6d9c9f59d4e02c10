use super::*;

/// What `parse` makes of each text, or that it refuses it.
fn accepted<'a, T: ToString>(parse: impl Fn(&str) -> Result<T, Fault>, texts: &[&'a str]) -> Vec<&'a str> {
    texts.iter().copied().filter(|text| parse(text).is_ok()).collect()
}

fn all_good<T: ToString>(parse: impl Fn(&str) -> Result<T, Fault>, texts: &[&str]) {
    assert_eq!(accepted(parse, texts), texts);
}

fn all_bad<T: ToString>(parse: impl Fn(&str) -> Result<T, Fault>, texts: &[&str]) {
    assert_eq!(accepted(parse, texts), Vec::<&str>::new());
}

#[test]
fn names_are_dns_labels() {
    let longest = "a".repeat(63);
    all_good(Name::parse, &["a", "7", "ville-lyon", "a--b", "xn--orlans-dva", &longest]);
    all_bad(Name::parse, &["", "-a", "a-", "a.b", "a_b", "A", "é", "a b", "a\n", &"a".repeat(64)]);
    let hint = |text| Name::parse(text).unwrap_err().hint;
    assert_eq!(hint("Ville de  Lyon"), Some("`ville-de-lyon` would do".to_owned()));
    assert_eq!(hint("../../etc"), Some("`etc` would do".to_owned()));
    assert_eq!(hint("Orléans"), None);
    assert_eq!(hint("___"), None);
}

#[test]
fn domains_have_two_labels_and_nothing_around_them() {
    let longest = format!("{}.fr", "a".repeat(63));
    all_good(Domain::parse, &["a.fr", "ville-lyon.geoclic.fr", "1and1.com", "xn--orlans-dva.fr", &longest]);
    all_bad(
        Domain::parse,
        &["", "fr", "a.fr.", ".a.fr", "a..fr", "a.1", "1.2.3.4", "::1", "a_b.fr", "a.fr/", "a.fr:1"],
    );
    all_bad(
        Domain::parse,
        &[&format!("{}.fr", "a".repeat(64)), &format!("{}fr", "abcdefg.".repeat(32)), "a.fr\n"],
    );
    assert_eq!(Domain::parse("Ville.FR").unwrap(), "ville.fr");
}

#[test]
fn addresses_are_ones_a_server_can_have() {
    all_good(Address::parse_ip, &["51.210.42.100", "10.0.0.1", "127.9.9.9", "2001:db8::1", "fd00::5", "::1"]);
    all_bad(
        Address::parse_ip,
        &["", "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"],
    );
    all_bad(
        Address::parse_ip,
        &["fe80::1", "fe80::1%eth0", "::ffff:1.2.3.4", "1.2.3", "1.2.3.4/8", " 1.2.3.4", "01.2.3.4"],
    );
    all_good(Address::parse_host, &["vps1", "vps1.example.net", "a.b.c.d"]);
    all_bad(
        Address::parse_host,
        &["", "-x", "a b", "1.2.3.4", "2001:db8::1", "a:22", "u@a", "a/b", "vps.1", "%h"],
    );
    // One address has one spelling, so that two clients cannot share it unseen.
    assert_eq!(Address::parse_ip("2001:DB8:0::1"), Address::parse_ip("2001:db8::1"));
    assert_eq!(Address::parse_host("VPS1"), Address::parse_host("vps1"));
}

#[test]
fn a_jump_host_may_have_a_user_and_a_port() {
    let canonical = |text| Jump::parse(text).unwrap().to_string();
    assert_eq!(canonical("bastion"), "bastion:22");
    assert_eq!(canonical("ops@10.0.0.1:2222"), "ops@10.0.0.1:2222");
    assert_eq!(canonical("[2001:db8::1]"), "[2001:db8::1]:22");
    assert_eq!(canonical("ops@[2001:db8::1]:2222"), "ops@[2001:db8::1]:2222");
    all_bad(
        Jump::parse,
        &["", "@a", "a:", "a:0", "a:65536", "a:+22", "-a", "-u@a", "a,b", "[::1", "[::1]22", "ssh://a"],
    );
}

#[test]
fn users_tags_and_mail_are_plain() {
    all_good(User::parse, &["root", "ubuntu", "_apt", "first.last", "A1-b"]);
    all_bad(User::parse, &["", "-x", "1a", ".a", "a b", "a;b", "a$", "é", &"a".repeat(33)]);
    all_good(Tag::parse, &["prod", "2026", "a_b-c"]);
    all_bad(Tag::parse, &["", "-a", "_a", "A", "a,b", "a b", "é"]);
    all_good(Email::parse, &["a@example.fr", "a.b+c@sub.example.fr", "o'neil@example.fr"]);
    all_bad(
        Email::parse,
        &["", "a", "@example.fr", "a@fr", "a@b@example.fr", "a b@example.fr", "-a@example.fr"],
    );
    all_bad(
        Email::parse,
        &[".a@example.fr", "a.@example.fr", "a..b@example.fr", "a@example.fr\n", "a;b@example.fr"],
    );
}

#[test]
fn sentrys_own_rules_hold() {
    all_good(Environment::parse, &["prod", "Ville de Lyon", "préprod", &"é".repeat(64)]);
    all_bad(Environment::parse, &["", "a/b", "None", " a", "a ", &"x".repeat(65)]);
    all_good(Slug::parse, &["geoclic", "my-team_2", "4507"]);
    all_bad(Slug::parse, &["", "a/b", "..", "-a", "a b", "a?b"]);
}

#[test]
fn variable_names_are_posix() {
    all_good(variable, &["A", "_A", "a1_B"]);
    all_bad(variable, &["", "1A", "A-B", "A B", "É", "A=B", "A\n"]);
}

struct Shown(Dsn);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.reveal())
    }
}

#[test]
fn a_dsn_is_kept_as_written_and_masked_in_debug() {
    let parse = |text: &str| Dsn::parse(text).map(Shown);
    all_good(
        parse,
        &["https://key@o1.ingest.sentry.io/42", "http://k@localhost:8019/1", "https://k@[2001:db8::1]/a/b/7"],
    );
    all_bad(
        parse,
        &[
            "",
            "https://k@h/",
            "https://k@h",
            "https://h/1",
            "https://k@h/1a",
            "https://k@h/1/",
            "ftp://k@h/1",
        ],
    );
    all_bad(
        parse,
        &["https://k:s@h/1", "https://k@h/1?x", "https://k@h/1#x", "https://k@h/1\n", "https://$(k)@h/1"],
    );
    all_bad(
        parse,
        &["https://k@h/99999999999999999999", "https://k@/1", "https://ké@h/1", "https://k%20@h/1"],
    );

    let dsn = Dsn::parse("https://hunter2@sentry.example.net:9000/base/42").unwrap();
    assert_eq!(format!("{dsn:?}"), "Dsn(https://***@sentry.example.net:9000/base/42)");
    assert_eq!((dsn.key(), dsn.project()), ("hunter2", 42));
    assert_eq!(dsn.envelope_url(), "https://sentry.example.net:9000/base/api/42/envelope/");
    assert_eq!(dsn.reveal(), "https://hunter2@sentry.example.net:9000/base/42");
    let short = Dsn::parse("http://k@h/1").unwrap();
    assert_eq!(short.envelope_url(), "http://h/api/1/envelope/");
}

#[test]
fn no_refusal_of_a_dsn_quotes_it() {
    for text in [
        "hunter2",
        "https://hunter2@h/x",
        "https://hunter2:hunter2@h/1",
        "ftp://hunter2@h/1",
        "https://hunter2@h/1 ",
    ] {
        let fault = Dsn::parse(text).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault}");
    }
}

#[test]
fn cron_lines_have_five_fields_in_range() {
    all_good(
        CronLine::parse,
        &[
            "0 2 * * *",
            "*/15 0-6,22,23 1-31/2 JAN-mar,12 mon-fri",
            "59 23 31 12 7",
            "0 0 29 2 *",
            "0 0 31 2 1",
        ],
    );
    all_bad(
        CronLine::parse,
        &["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *"],
    );
    all_bad(
        CronLine::parse,
        &["* * * * 8", "1- * * * *", "-1 * * * *", "1,,2 * * * *", "*/0 * * * *", "*/60 * * * *"],
    );
    all_bad(
        CronLine::parse,
        &["5/10 * * * *", "+1 * * * *", "* * * foo *", "mon * * * *", "@daily", "@reboot", "x\ty * * *"],
    );
    all_bad(CronLine::parse, &["0 0 30 2 *", "0 0 31 4,6,9,11 *", "5-1 * * * *", "% * * * *", "0 2 * * *%x"]);
    assert_eq!(CronLine::parse("0  2 *  * *").unwrap(), "0 2 * * *");
    assert_eq!(CronLine::parse("@Weekly").unwrap_err().hint.as_deref(), Some("write \"0 0 * * 0\""));
}

#[test]
fn windows_have_two_times_and_a_zone() {
    all_good(
        UpdateWindow::parse,
        &["22:00-05:00 Europe/Paris", "00:00-23:59 UTC", "01:00-02:00 Etc/GMT+5", "always"],
    );
    all_bad(
        UpdateWindow::parse,
        &["", "22:00-05:00", "22-05 UTC", "24:00-05:00 UTC", "22:60-05:00 UTC", "2:00-05:00 UTC"],
    );
    all_bad(
        UpdateWindow::parse,
        &["22:00-22:00 UTC", "22:00-05:00 ", "22:00-05:00 ../etc", "22:00 - 05:00 UTC", "+1:00-05:00 UTC"],
    );
}

#[test]
fn swap_has_a_unit_and_bounds() {
    let canonical = |text| Swap::parse(text).map(|swap| swap.to_string());
    for (text, same) in [("auto", "auto"), ("off", "off"), ("2G", "2G"), ("512m", "512M"), ("2048M", "2G")] {
        assert_eq!(canonical(text).as_deref(), Ok(same));
    }
    all_bad(Swap::parse, &["", "2", "G", "2GB", "-1G", "+1G", "63M", "65G", "4194305G", "1.5G", "é"]);
}

#[test]
fn paths_addresses_and_keys_are_no_options() {
    all_good(FilePath::parse, &["keys/a", "../code", "/etc/x", "a b", "./-x"]);
    all_bad(FilePath::parse, &["", "-x", "~/x", " x", "x "]);
    all_good(WebUrl::parse, &["https://a.example.net:14000/dir", "http://10.0.0.1:5000"]);
    all_bad(
        WebUrl::parse,
        &["", "a", "ftp://a", "https://", "https://u@a", "https://u:p@a", "https://a b", "https://a/`x`"],
    );
    all_bad(WebUrl::parse_https, &["http://a.example.net"]);
    let ssh = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} who@where", "b".repeat(43));
    all_good(Recipient::parse, &[&format!("age1{}", "q".repeat(58)), &ssh]);
    all_bad(
        Recipient::parse,
        &["", "age1", "AGE-SECRET-KEY-1QQ", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 AAAA"],
    );
    assert!(Recipient::parse("AGE-SECRET-KEY-1QQ").unwrap_err().secret);
    assert!(WebUrl::parse("ftp://u:p@a").unwrap_err().secret);
}
