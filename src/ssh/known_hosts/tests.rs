use super::*;

const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMkGZ4Kkj7V6qr2L5szvpXfUatVlPxBQ3Fsw2MpLLi5h";
const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINcXXURO/YK++5Wi1acTUaFX3WMUMIVpFHNrCCf+a7Zd";
const C: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBG8dY7EywtlvMHY23XGdS+n409yDtFZylnkknhblelkCw0Y6Gc8meuv1pBOu9gTs52YjG1dK8uwEGXMPC83pm6o=";
const PRINT_A: &str = "SHA256:qCZlIeSw+EKTj6DD2vSjkq56HGGvgsTmvVQH+RfCwFU";
const PRINT_B: &str = "SHA256:7YJBfiJT8RKAYwJbhj2C8QZabNGtqTwIetcJSWgclB0";
const UNKNOWN: Verdict = Verdict::Unknown { authority: false };

fn key(line: &str) -> PublicKey {
    PublicKey::from_openssh(line).unwrap()
}

fn judge(text: &str, host: &str, port: u16, shown: &str) -> Verdict {
    KnownHosts::parse(text).judge(host, port, &key(shown))
}

fn changed(old: &str, line: usize) -> Verdict {
    Verdict::Changed { old: vec![old.to_owned()], line }
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    assert_eq!((fingerprint(&key(A)), fingerprint(&key(B))), (PRINT_A.to_owned(), PRINT_B.to_owned()));
}

#[test]
fn plain_names_ports_and_lists() {
    let text = format!("# comment\n\none.example,192.0.2.1 {A} a comment\n[one.example]:2222 {B}\n");
    assert_eq!(judge(&text, "one.example", 22, A), Verdict::Known);
    assert_eq!(judge(&text, "ONE.example", 22, A), Verdict::Known);
    assert_eq!(judge(&text, "192.0.2.1", 22, A), Verdict::Known);
    assert_eq!(judge(&text, "one.example", 22, B), changed(PRINT_A, 3));
    assert_eq!(judge(&text, "one.example", 2222, B), Verdict::Known);
    assert_eq!(judge(&text, "one.example", 2222, A), changed(PRINT_B, 4));
    assert_eq!(judge(&text, "two.example", 22, A), UNKNOWN);
    assert_eq!(judge(&text, "one.example", 23, A), UNKNOWN);
}

#[test]
fn ipv6_with_and_without_a_port() {
    let text = format!("2001:db8::1 {A}\n[2001:db8::1]:2222 {B}\n");
    assert_eq!(judge(&text, "2001:db8::1", 22, A), Verdict::Known);
    assert_eq!(judge(&text, "2001:db8::1", 2222, B), Verdict::Known);
}

/// Made by `ssh-keygen -H`.
#[test]
fn hashed_names() {
    let text = format!(
        "|1|BU0v/0wBB+Ii9zKdN8viD5EepRA=|BO64rKUESFLi/IR2JhArc+QwjRQ= {A}\n\
         |1|ySlGFx390lZwqGXrCsR9eDk311A=|liZQgmOJEtHRp3PpfADEedIFEb0= {B}\n"
    );
    assert_eq!(judge(&text, "host.example", 22, A), Verdict::Known);
    assert_eq!(judge(&text, "host.example", 22, B), changed(PRINT_A, 1));
    assert_eq!(judge(&text, "h2.example", 2222, B), Verdict::Known);
    assert_eq!(judge(&text, "h2.example", 22, B), UNKNOWN);
}

#[test]
fn wildcards_and_negations() {
    let text = format!("*.example,!secret.example {A}\nweb?.test {B}\n");
    assert_eq!(judge(&text, "x.example", 22, A), Verdict::Known);
    assert_eq!(judge(&text, "secret.example", 22, A), UNKNOWN);
    assert_eq!(judge(&text, "web1.test", 22, B), Verdict::Known);
    assert_eq!(judge(&text, "web10.test", 22, B), UNKNOWN);
    assert!(wild(b"*a*b*", b"xxaxxbxx") && !wild(b"*a*b", b"xxaxxbx") && wild(b"**", b""));
}

#[test]
fn another_type_of_key_is_a_change_too() {
    let text = format!("host {A}\n");
    assert_eq!(judge(&text, "host", 22, C), changed(PRINT_A, 1));
    let both = format!("host {A}\nhost {C}\n");
    assert_eq!(judge(&both, "host", 22, C), Verdict::Known);
    assert_eq!(KnownHosts::parse(&both).algorithms("host", 22), ["ssh-ed25519", "ecdsa-sha2-nistp256"]);
}

#[test]
fn revoked_wins_and_authorities_are_told() {
    let text = format!("host {A}\n@revoked * {A}\n@cert-authority *.example {B}\n@future host {B}\n");
    assert_eq!(judge(&text, "host", 22, A), Verdict::Revoked { line: 2 });
    assert_eq!(judge(&text, "other", 22, A), Verdict::Revoked { line: 2 });
    assert_eq!(judge(&text, "host", 22, B), changed(PRINT_A, 1));
    assert_eq!(judge(&text, "x.example", 22, B), Verdict::Unknown { authority: true });
    assert_eq!(judge(&text, "other", 22, B), UNKNOWN);
    assert_eq!(KnownHosts::parse(&text).algorithms("x.example", 22), Vec::<String>::new());
}

#[test]
fn damaged_lines_say_nothing() {
    let text =
        "host\nhost ssh-ed25519\n|1|x host\n@revoked\n|1|!!|?? ssh-ed25519 AAAA\n,,, ssh-ed25519 AAAA\n";
    assert_eq!(judge(text, "host", 22, A), UNKNOWN);
    // A recorded key that cannot be read is still a key that the host does not show.
    let Verdict::Changed { old, .. } = judge("host ssh-dss AAAA\n", "host", 22, A) else { panic!() };
    assert_eq!(old, ["an unreadable ssh-dss key"]);
}

#[test]
fn a_recorded_line_is_known_afterwards() {
    for (host, port) in [("one.example", 22), ("Two.Example", 2222), ("2001:db8::1", 22), ("::1", 99)] {
        let line = line_for(host, port, &key(C));
        assert_eq!(judge(&line, host, port, C), Verdict::Known, "{line}");
    }
    assert_eq!(line_for("Two.Example", 2222, &key(A)), format!("[two.example]:2222 {A}"));
}
