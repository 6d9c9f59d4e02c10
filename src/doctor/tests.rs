use std::net::IpAddr;

use super::*;
use crate::facts::Facts;
use crate::registry::Registry;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn registry() -> Registry {
    let text = "[fleet]\nname = \"f\"\nstack = \"geoclic\"\n[clients.lyon]\ndomain = \"lyon.example.fr\"\n\
                ip = \"192.0.2.1\"\nemail = \"a@example.fr\"\n[clients.brest]\ndomain = \"brest.example.fr\"\nhost = \"vps.example.net\"\n";
    Registry::parse(text, "clients.toml").unwrap()
}

fn what(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.what.as_str()).collect()
}

#[test]
fn names_are_counted_by_the_domain_that_is_registered() {
    for (name, domain) in [
        ("ville-lyon.geoclic.fr", "geoclic.fr"),
        ("a.b.c.geoclic.fr", "geoclic.fr"),
        ("mairie.ville.gouv.fr", "ville.gouv.fr"),
        ("shop.example.co.uk", "example.co.uk"),
        ("geoclic.fr", "geoclic.fr"),
        ("co.uk", "co.uk"),
        ("x.com.example.org", "example.org"),
    ] {
        assert_eq!(registered(name), domain, "{name}");
    }
}

#[test]
fn a_fleet_below_one_domain_has_a_budget() {
    let names: Vec<String> = (0..301).map(|n| format!("ville-{n}.geoclic.fr")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let production = "https://acme-v02.api.letsencrypt.org/directory";
    assert_eq!(budget(production, &names[..50]), []);
    let found = budget(production, &names[..51]);
    assert_eq!(
        what(&found),
        ["51 clients below geoclic.fr have no certificate yet, and Let's Encrypt issues 50 a week for it"]
    );
    assert_eq!(
        found[0].why,
        "provisioning all of them takes 2 weeks; a refusal lasts until older ones are a week old"
    );
    assert_eq!(budget(production, &names).len(), 2, "and 300 orders in three hours");
    assert_eq!(budget("https://acme-staging-v02.api.letsencrypt.org/directory", &names), []);
    assert_eq!(budget("https://acme.example.net/dir", &names), []);
}

#[test]
fn dns_is_compared_with_the_address() {
    let registry = registry();
    let lyon = registry.client("lyon").unwrap();
    let of = |found: Option<&[IpAddr]>| resolved(lyon, "lyon.example.fr", found, None);
    let (right, wrong, six) = (ip("192.0.2.1"), ip("192.0.2.9"), ip("2001:db8::1"));
    assert_eq!(of(Some(&[right])), None);
    let gone = of(None).unwrap();
    assert_eq!(
        (gone.severity, gone.remedy.as_str()),
        (Severity::Error, "add an A record: lyon.example.fr -> 192.0.2.1")
    );
    assert_eq!(of(Some(&[wrong])).unwrap().what, "lyon.example.fr points to 192.0.2.9, not to 192.0.2.1");
    assert_eq!(of(Some(&[right, six])).map(|one| one.severity), Some(Severity::Warning));
    assert_eq!(of(Some(&[right, wrong])).map(|one| one.severity), Some(Severity::Warning));
    // A server that the registry names is compared with what that name is.
    let brest = registry.client("brest").unwrap();
    assert_eq!(resolved(brest, "brest.example.fr", Some(&[right]), Some(&[right])), None);
    assert!(resolved(brest, "brest.example.fr", Some(&[wrong]), Some(&[right])).is_some());
}

#[test]
fn files_that_others_read_or_git_knows_are_named() {
    let file = |mode, tracked| Exposed { path: "keys/fleet_ed25519".into(), mode, tracked };
    assert_eq!(exposed(&file(0o100_600, false)), []);
    assert_eq!(
        what(&exposed(&file(0o100_644, true))),
        [
            "keys/fleet_ed25519 has mode 0644: others on this machine may read it",
            "keys/fleet_ed25519 is committed to git"
        ]
    );
}

const WELL: &str = "sudo\tyes\nclock\t1795000000\nos\tdebian\nos_version\t13\nMemTotal\t2014844\ndisk_free\t30436173\n\
    disk_percent\t25\nsystemd\tyes\ncompose\t2.26.1-4\nengine\t26.1.5\nport\t80 docker geoclic geoclic-nginx-1\n\
    port\t443 docker geoclic geoclic-nginx-1\napt_lists\t1794990000\nacme\t200\nend\tok\n";

fn asked() -> Asked {
    Asked {
        client: "lyon".into(),
        stack: "geoclic".into(),
        user: "debian".into(),
        memory_mb: Some(2048),
        acme: "https://acme.example/dir".into(),
        disk_percent: 90,
        serves: true,
    }
}

fn of_host(changes: &[(&str, &str)], ports: &[Port]) -> Vec<Finding> {
    let mut text = WELL.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    host(&asked(), &Facts::parse(text.as_bytes()).unwrap(), ports)
}

#[test]
fn each_fault_of_a_host_is_one_finding_with_its_remedy() {
    let open = [80, 443].map(|number| Port { number, reach: Reach::Open });
    assert_eq!(of_host(&[], &open), []);
    for (changes, words) in [
        ([("sudo\tyes", "sudo\tno")], "debian has no sudo without a password"),
        ([("os_version\t13", "os_version\t11\nos_name\tDebian 11")], "runs Debian 11"),
        ([("systemd\tyes\n", "")], "does not run systemd"),
        ([("compose\t2.26.1-4", "compose\t1.29.2")], "has Docker Compose 1.29.2"),
        ([("engine\t26.1.5\n", "")], "has Docker, and its engine does not answer"),
        ([("disk_percent\t25", "disk_percent\t93")], "its disk is 93% full"),
        ([("disk_free\t30436173", "disk_free\t1000000")], "has 976 MB of disk left"),
        (
            [("MemTotal\t2014844", "MemTotal\t1000000")],
            "has 976 MB of memory, and stack geoclic asks for 2048",
        ),
        (
            [("port\t80 docker geoclic geoclic-nginx-1", "port\t80 program apache2")],
            "port 80 is taken by apache2",
        ),
        (
            [("port\t80 docker geoclic geoclic-nginx-1", "port\t80 docker  blog")],
            "port 80 is taken by the container blog",
        ),
        ([("acme\t200", "acme\t000")], "the certificate authority cannot be reached from the host"),
        ([("apt_lists\t1794990000", "apt_lists\t1790000000")], "its package lists are 57 days old"),
        ([("acme\t200", "acme\t200\ndpkg\tbroken")], "an installation of packages was cut short"),
        ([("acme\t200", "acme\t200\nno_package\tcertbot")], "its package sources have no certbot"),
    ] {
        let found = of_host(&changes, &open);
        assert_eq!(what(&found), [words]);
        assert!(!found[0].remedy.is_empty() && found[0].client.as_deref() == Some("lyon"), "{found:?}");
    }
    assert_eq!(
        of_host(&[("port\t80 docker geoclic geoclic-nginx-1", "port\t80 program apache2")], &open)[0].remedy,
        "on the host: sudo systemctl disable --now apache2"
    );
}

#[test]
fn ports_are_judged_by_what_should_be_there() {
    let port = |reach| [Port { number: 80, reach }];
    assert_eq!(what(&of_host(&[], &port(Reach::Silent))), ["port 80 does not answer from here"]);
    assert_eq!(what(&of_host(&[], &port(Reach::Refused))), ["nothing listens on port 80"]);
    let bare = Facts::parse(WELL.as_bytes()).unwrap();
    let asked = Asked { serves: false, ..asked() };
    assert_eq!(host(&asked, &bare, &port(Reach::Refused)), [], "a bare host listens on nothing yet");
}

#[test]
fn a_hostile_host_cannot_write_into_findings() {
    let found =
        of_host(&[("port\t80 docker geoclic geoclic-nginx-1", "port\t80 program \u{1b}[2Jx\u{202e}")], &[]);
    let text = serde_json::to_string(&found).unwrap();
    assert!(!text.contains("\\u001b") && !text.contains('\u{202e}'), "{text}");
}

#[test]
fn the_exit_code_says_what_kind_of_trouble_it_is() {
    let error = |area| Finding::error(area, "x");
    assert_eq!(exit(&[], 2, 2), ExitKind::Ok);
    assert_eq!(exit(&[Finding::warning(Area::Registry, "x")], 2, 2), ExitKind::Ok);
    assert_eq!(exit(&[error(Area::Host)], 2, 1), ExitKind::ClientFailed);
    assert_eq!(exit(&[error(Area::Reach)], 2, 0), ExitKind::NoneReachable);
    assert_eq!(exit(&[error(Area::Reach), error(Area::Secrets)], 2, 0), ExitKind::Refused);
    assert_eq!(exit(&[error(Area::Here)], 0, 0), ExitKind::ClientFailed, "--local asks no host");
}

#[test]
fn addresses_outside_of_the_host_are_found_among_the_values() {
    use crate::secret::Secret;
    use crate::stack::{EnvValue, Origin, ResolvedEnv};
    let mut env = ResolvedEnv { values: Default::default(), absent: Default::default() };
    for (name, value) in [
        ("A_DATABASE", "postgresql://user:Poison7Q2xK9@db.Example.net:6543/app?pgbouncer=true"),
        ("B_REDIS", "rediss://default:x@eu1.upstash.example:6379"),
        ("C_SENTRY", "https://key@o1.ingest.sentry.io/42"),
        ("D_AGAIN", "https://o1.ingest.sentry.io/other"),
        ("E_CONTAINER", "postgres://user:x@database:5432/app"),
        ("F_OWN", "https://lyon.example.fr/api"),
        ("G_OWN", "https://api.lyon.example.fr"),
        ("H_LIST", "https://a.example.net,https://b.example.net"),
        ("I_LOCAL", "http://127.0.0.1:8000"),
        ("J_WORD", "production"),
        ("K_ODD", "http://a$(id).example.net"),
        ("L_MAIL", "mailto:a@example.net"),
    ] {
        let value = EnvValue { value: Secret::from(value), secret: true, origin: Origin::Default };
        env.values.insert(name.to_owned(), value);
    }
    let found = outside(&env, "lyon.example.fr");
    let short: Vec<String> =
        found.iter().map(|one| format!("{} {}:{}", one.variable, one.host, one.port)).collect();
    assert_eq!(
        short,
        [
            "A_DATABASE db.example.net:6543",
            "B_REDIS eu1.upstash.example:6379",
            "C_SENTRY o1.ingest.sentry.io:443"
        ]
    );
    let facts = Facts::parse(
        b"outside A_DATABASE\tsilent\noutside B_REDIS\trefused\noutside C_SENTRY\topen\nend\tok\n",
    )
    .unwrap();
    let findings = unreached("lyon", &found, &facts);
    assert_eq!(
        what(&findings),
        [
            "port 6543 of what A_DATABASE names does not answer the host",
            "port 6379 of what B_REDIS names refuses the host"
        ]
    );
    assert!(!format!("{findings:?}").contains("Poison7Q2xK9"));
}
