use super::*;

fn place() -> Place {
    Place { host: "one.example".to_owned(), port: 2222 }
}

/// Each kind once, in the order of the enum.
fn all() -> Vec<ConnectError> {
    let limit = Duration::from_secs(10);
    let file = PathBuf::from("known_hosts");
    let path = PathBuf::from("keys/fleet_ed25519");
    let fingerprint = "SHA256:new".to_owned();
    let refused = |user: &str, methods: &[&str], said: &str| ConnectError::AuthRefused {
        user: user.to_owned(),
        place: place(),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        public: "ssh-ed25519 AAAA fleet".into(),
        said: said.into(),
    };
    let jump = "me@gate.example".to_owned();
    vec![
        ConnectError::Dns { host: "one.example".to_owned(), cause: "name or service not known".to_owned() },
        ConnectError::Refused { place: place() },
        ConnectError::TimedOut { place: place(), stage: Stage::Lookup, limit },
        ConnectError::TimedOut { place: place(), stage: Stage::Connect, limit },
        ConnectError::TimedOut {
            place: place(),
            stage: Stage::Handshake,
            limit: Duration::from_millis(1500),
        },
        ConnectError::Unreachable { place: place(), cause: "no route to host".to_owned() },
        ConnectError::NotSsh { place: place(), said: String::new() },
        ConnectError::NotSsh { place: place(), said: "HTTP/1.1 400 Bad Request".to_owned() },
        ConnectError::NotSsh { place: place(), said: "Exceeded MaxStartups".to_owned() },
        ConnectError::Handshake { place: place(), cause: "the host hung up".to_owned() },
        ConnectError::HostKeyUnknown {
            place: place(),
            fingerprint: fingerprint.clone(),
            file: file.clone(),
            authority: false,
        },
        ConnectError::HostKeyChanged {
            place: place(),
            old: vec!["SHA256:old".to_owned()],
            new: fingerprint.clone(),
            file: file.clone(),
            line: 3,
        },
        ConnectError::HostKeyRevoked { place: place(), fingerprint, file: file.clone(), line: 4 },
        ConnectError::KnownHosts { file, cause: "permission denied".to_owned() },
        ConnectError::KeyMissing { path: path.clone(), agent: Agent::Absent },
        ConnectError::KeyPermissions { path: path.clone(), mode: 0o644 },
        ConnectError::KeyPassphrase { path: path.clone() },
        ConnectError::KeyInvalid { path, cause: "it holds a public key".to_owned() },
        refused("ubuntu", &["publickey"], ""),
        refused("root", &[], "Too many authentication failures"),
        refused("root", &["password"], ""),
        ConnectError::JumpInvalid { jump: "me@".to_owned() },
        ConnectError::JumpFailed {
            jump: jump.clone(),
            cause: Box::new(ConnectError::Refused { place: place() }),
        },
        ConnectError::JumpRefused { jump, place: place(), cause: "connect failed".to_owned() },
    ]
}

#[test]
fn every_way_to_fail_has_its_words_and_its_remedy() {
    let text: Vec<String> =
        all().iter().map(|error| format!("{}\n    -> {}", error.what(), error.remedy())).collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn fragments_without_a_capital_or_a_final_stop() {
    for error in all() {
        for text in [error.what(), error.remedy()] {
            assert!(!text.ends_with('.'), "{text}");
            assert!(!text.contains("  "), "{text}");
        }
    }
}

#[test]
fn places() {
    assert_eq!(place().to_string(), "one.example:2222");
    assert_eq!(Place { host: "::1".to_owned(), port: 22 }.to_string(), "[::1]:22");
}
